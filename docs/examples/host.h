/* A host as a board, for pair.c: keys in PSA Crypto, flash in memory, and what install leaves in a unit, from a file. */
#include <birthmark/installed.h>
#include <birthmark/pairing.h>
#include <birthmark/port_psa.h>
#include <stdio.h>
#include <string.h>

struct host {
    struct bm_psa psa; /* first: the calls of the port take a struct host for it */
    struct bm_port port;
    struct bm_image image;
    struct bm_identity identity;
    uint8_t flash[BM_FLASH_PAGES][2048];
};

static int flash_program(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size)
{
    memcpy(((struct host *)user)->flash[page] + offset, data, size);
    return BM_OK;
}

static int flash_erase(void *user, unsigned page)
{
    memset(((struct host *)user)->flash[page], 0xFF, sizeof ((struct host *)user)->flash[page]);
    return BM_OK;
}

/* Read a unit from a file: its private key (32 bytes, in place of a chip), the anchor, ID_CRED_x. 1 if it went well. */
static int host_start(struct host *host, const char *path, uint32_t product)
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
    host->port = (struct bm_port){.flash = host->flash[0], .flash_program = flash_program, .flash_erase = flash_erase,
                                  .page_size = sizeof host->flash[0]};
    host->image = (struct bm_image){.product = product, .peers = {product}, .peer_count = 1};
    memset(host->flash, 0xFF, sizeof host->flash);
    return file != NULL && fclose(file) == 0 && size > (size_t)(id - unit) && psa_crypto_init() == PSA_SUCCESS &&
           psa_hash_compute(PSA_ALG_SHA_256, anchor, BM_ANCHOR_SIZE, host->image.anchor_hash, BM_HASH_SIZE, &(size_t){0}) == 0 &&
           psa_import_key(&signs, unit, 32, &key) == PSA_SUCCESS && bm_psa_start(&host->psa, &host->port, key) == BM_OK &&
           bm_installed_parse(&host->identity, id, size - (size_t)(id - unit)) == BM_OK &&
           bm_installed_write_anchor(&host->port, anchor) == BM_OK && bm_pairing_write(&host->port, &open) == BM_OK;
}
