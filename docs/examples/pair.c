/* Two units pair over a socketpair, and one greets the other (docs/library.md). usage: pair END END PRODUCT
 *
 * An END is a file with what a unit has after install: its private key (32 bytes, in place of a chip), the anchor, ID_CRED_x. */
#include <birthmark/installed.h>
#include <birthmark/policy.h>
#include <birthmark/port_psa.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
    struct bm_psa psa; /* first: the calls of the port take a struct end for it */
    struct bm_port port;
    struct bm_image image;
    struct bm_identity identity;
    struct bm_peerlink_config config;
    struct bm_peerlink link;
    int line, ready, greeted;
    uint8_t flash[BM_FLASH_PAGES][2048], in[BM_PEERLINK_IN_SIZE], out[BM_PEERLINK_OUT_SIZE], frame[BM_PEERLINK_FRAME_SIZE];
};

static int flash_program(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size)
{
    memcpy(((struct end *)user)->flash[page] + offset, data, size);
    return BM_OK;
}

static int flash_erase(void *user, unsigned page)
{
    memset(((struct end *)user)->flash[page], 0xFF, sizeof ((struct end *)user)->flash[page]);
    return BM_OK;
}

static void send_line(void *user, const uint8_t *bytes, size_t size)
{
    if (write(((struct end *)user)->line, bytes, size) != (ssize_t)size) {
        perror("line");
    }
}

static void received(void *user, const uint8_t *message, size_t size)
{
    ((struct end *)user)->greeted = printf("received: %.*s\n", (int)size, (const char *)message) > 0;
}

static void changed(void *user, int event, int reason)
{
    ((struct end *)user)->ready = event == BM_PEERLINK_READY && printf("ready, reason %d\n", reason) > 0;
}

/* What start-up and install do. 1 if it went well. */
static int start(struct end *end, const char *path, uint32_t product)
{
    uint8_t unit[32 + BM_ANCHOR_SIZE + BM_ID_CRED_MAX], *anchor = unit + 32, *id = anchor + BM_ANCHOR_SIZE;
    struct bm_pairing open = {.state = BM_PAIRING_OPEN};
    psa_key_attributes_t signs = psa_key_attributes_init();
    psa_key_id_t key;
    FILE *file = fopen(path, "rb");
    size_t size = file == NULL ? 0 : fread(unit, 1, sizeof unit, file);

    psa_set_key_type(&signs, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_algorithm(&signs, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    psa_set_key_usage_flags(&signs, PSA_KEY_USAGE_SIGN_HASH);
    end->port = (struct bm_port){.flash = end->flash[0], .flash_program = flash_program, .flash_erase = flash_erase,
                                 .page_size = sizeof end->flash[0]};
    end->image = (struct bm_image){.product = product, .peers = {product}, .peer_count = 1};
    end->config = (struct bm_peerlink_config){&end->port, &end->image, &end->identity, end->in, end->out, end->frame,
                                              end, send_line, received, changed, .pair_allowed = bm_wired};
    memset(end->flash, 0xFF, sizeof end->flash);
    return file != NULL && fclose(file) == 0 && size > (size_t)(id - unit) && psa_crypto_init() == PSA_SUCCESS &&
           psa_hash_compute(PSA_ALG_SHA_256, anchor, BM_ANCHOR_SIZE, end->image.anchor_hash, BM_HASH_SIZE, &(size_t){0}) == 0 &&
           psa_import_key(&signs, unit, 32, &key) == PSA_SUCCESS && bm_psa_start(&end->psa, &end->port, key) == BM_OK &&
           bm_installed_parse(&end->identity, id, size - (size_t)(id - unit)) == BM_OK &&
           bm_installed_write_anchor(&end->port, anchor) == BM_OK && bm_pairing_write(&end->port, &open) == BM_OK &&
           bm_peerlink_start(&end->link, &end->config, 0) == BM_OK;
}

int main(int argc, char **argv)
{
    static struct end ends[2];
    struct pollfd lines[2] = {{.events = POLLIN}, {.events = POLLIN}};
    uint8_t byte;
    int pair[2];

    if (argc != 4 || bm_abi() != BM_ABI || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        return 2;
    }
    for (int i = 0; i < 2; i++) {
        ends[i].line = lines[i].fd = pair[i];
        if (!start(&ends[i], argv[1 + i], (uint32_t)strtoul(argv[3], NULL, 10))) {
            return 1;
        }
    }
    int asked = bm_peerlink_connect(&ends[0].link) == BM_OK;
    for (uint32_t now = 0; asked && !ends[1].greeted && now < 20000; now += 10) {
        poll(lines, 2, 10); /* the clock: no more than these milliseconds go by */
        for (int i = 0; i < 2; i++) {
            while (recv(ends[i].line, &byte, 1, MSG_DONTWAIT) == 1) {
                bm_peerlink_receive(&ends[i].link, byte);
            }
            bm_peerlink_tick(&ends[i].link, now);
        }
        if (ends[0].ready && bm_peerlink_send(&ends[0].link, (const uint8_t *)"hello", 5) == BM_OK) {
            ends[0].ready = 0;
        }
    }
    return ends[1].greeted ? 0 : 1;
}
