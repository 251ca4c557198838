#include "internal.h"

struct ccm {
    const struct bm_port *port;
    const uint8_t *key;
    const uint8_t *nonce;
    int status;                        /* BM_OK until the block cipher fails, which is then not called again */
    uint8_t mac[BM_AES_BLOCK_SIZE];    /* CBC-MAC so far */
    uint8_t stream[BM_AES_BLOCK_SIZE]; /* S_i */
};

static void encrypt(struct ccm *c, uint8_t block[BM_AES_BLOCK_SIZE])
{
    if (c->status == BM_OK) {
        c->status = c->port->aes(c->port->user, c->key, block);
    }
}

/* B_0 or A_i, encrypted: flags, nonce, and a number of two bytes (RFC 3610, 2.2 and 2.3). */
static void encrypt_number(struct ccm *c, uint8_t block[BM_AES_BLOCK_SIZE], size_t flags, size_t number)
{
    block[0] = (uint8_t)flags;
    bm_copy(block + 1, c->nonce, BM_CCM_NONCE_SIZE);
    bm_put(block + 1 + BM_CCM_NONCE_SIZE, 2, (uint32_t)number);
    encrypt(c, block);
}

/* Bytes into the MAC from offset at of its block on, and zeros up to the end of the last block.  */
static void authenticate(struct ccm *c, size_t at, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        c->mac[at++] ^= *bytes++;
        size--;
        if (at == BM_AES_BLOCK_SIZE || size == 0) {
            encrypt(c, c->mac);
            at = 0;
        }
    }
}

/* text xor the key stream from S_i on. */
static void apply_stream(struct ccm *c, uint8_t *text, size_t size, size_t i)
{
    for (size_t at = 0; at < size; at++) {
        if (at % BM_AES_BLOCK_SIZE == 0) {
            encrypt_number(c, c->stream, 1, i++);
        }
        text[at] ^= c->stream[at % BM_AES_BLOCK_SIZE];
    }
}

static int crypt(const struct bm_port *port, const uint8_t *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_size,
                 uint8_t *text, size_t size, size_t tag_size, int open)
{
    struct ccm c;

    c.port = port;
    c.key = key;
    c.nonce = nonce;
    c.status = BM_OK;
    if (open) {
        apply_stream(&c, text, size, 1);
    }
    /* Flags: AAD or none, (tag_size - 2) / 2, L - 1 = 1. */
    encrypt_number(&c, c.mac, (size_t)(aad_size > 0) << 6 | (tag_size - 2) << 2 | 1, size);
    if (aad_size > 0) {
        c.mac[0] ^= (uint8_t)(aad_size >> 8);
        c.mac[1] ^= (uint8_t)aad_size;
        authenticate(&c, 2, aad, aad_size);
    }
    authenticate(&c, 0, text, size);
    apply_stream(&c, c.mac, tag_size, 0);
    if (open) {
        if (!bm_equal(c.mac, text + size, tag_size) && c.status == BM_OK) {
            c.status = BM_ERR_AUTH;
        }
    } else {
        apply_stream(&c, text, size, 1);
        bm_copy(text + size, c.mac, tag_size);
    }
    if (c.status != BM_OK) {
        bm_wipe(text, size + tag_size);
    }
    bm_wipe(c.mac, sizeof c.mac + sizeof c.stream);
    return c.status;
}

int bm_ccm_seal(const struct bm_port *port, const uint8_t key[BM_AES_KEY_SIZE], const uint8_t nonce[BM_CCM_NONCE_SIZE],
                const uint8_t *aad, size_t aad_size, uint8_t *text, size_t size, size_t tag_size)
{
    return crypt(port, key, nonce, aad, aad_size, text, size, tag_size, 0);
}

int bm_ccm_open(const struct bm_port *port, const uint8_t key[BM_AES_KEY_SIZE], const uint8_t nonce[BM_CCM_NONCE_SIZE],
                const uint8_t *aad, size_t aad_size, uint8_t *text, size_t size, size_t tag_size)
{
    return crypt(port, key, nonce, aad, aad_size, text, size, tag_size, 1);
}
