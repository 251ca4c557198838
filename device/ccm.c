#include "internal.h"

struct ccm {
    const struct bm_port *port;
    const uint8_t *key;
    int status;                        /* BM_OK until the block cipher fails, which is then not called again */
    uint8_t mac[BM_AES_BLOCK_SIZE];    /* CBC-MAC up to the last block, which is not encrypted yet */
    uint8_t stream[BM_AES_BLOCK_SIZE]; /* S_i */
};

static void encrypt(struct ccm *c, uint8_t block[BM_AES_BLOCK_SIZE])
{
    if (c->status == BM_OK) {
        c->status = c->port->aes(c->port->user, c->key, block);
    }
}

/* B_0 or A_i (RFC 3610, 2.2 and 2.3): flags, nonce, and a number of two bytes. */
static void number(struct ccm *c, uint8_t block[BM_AES_BLOCK_SIZE], size_t flags, size_t i)
{
    block[0] = (uint8_t)flags;
    bm_copy(block + 1, c->key + BM_AES_KEY_SIZE, BM_CCM_NONCE_SIZE);
    bm_put(block + 1 + BM_CCM_NONCE_SIZE, 2, (uint32_t)i);
}

/* Make room for the MAC's next block, and S_i. */
static void next(struct ccm *c, size_t i)
{
    encrypt(c, c->mac);
    number(c, c->stream, 1, i);
    encrypt(c, c->stream);
}

int bm_ccm(const struct bm_port *port, const uint8_t key[BM_CCM_KEY_SIZE], const uint8_t *aad, size_t aad_size, uint8_t *text,
           size_t size, size_t tag_size, unsigned open)
{
    struct ccm c;

    c.port = port;
    c.key = key;
    c.status = BM_OK;
    /* Flags: whether there is AAD, (tag_size - 2) / 2, L - 1 = 1. */
    number(&c, c.mac, (aad_size > 0 ? 64 : 0) + (tag_size - 2) * 4 + 1, size);
    if (aad_size > 0) {
        encrypt(&c, c.mac);
        c.mac[0] ^= (uint8_t)(aad_size >> 8);
        c.mac[1] ^= (uint8_t)aad_size;
        for (size_t at = 2; at < aad_size + 2; at++) {
            if (at % BM_AES_BLOCK_SIZE == 0) {
                encrypt(&c, c.mac);
            }
            c.mac[at % BM_AES_BLOCK_SIZE] ^= aad[at - 2];
        }
    }
    for (size_t i = 0; i < size; i++) {
        size_t at = i % BM_AES_BLOCK_SIZE;
        if (at == 0) {
            next(&c, i / BM_AES_BLOCK_SIZE + 1);
        }
        uint8_t in = text[i];
        uint8_t out = in ^ c.stream[at];
        c.mac[at] ^= open ? out : in;
        text[i] = out;
    }
    next(&c, 0);
    for (size_t i = 0; i < tag_size; i++) {
        c.mac[i] ^= c.stream[i];
    }
    if (!open) {
        bm_copy(text + size, c.mac, tag_size);
    } else if (c.status == BM_OK && !bm_equal(c.mac, text + size, tag_size)) {
        c.status = BM_ERR_AUTH;
    }
    if (c.status != BM_OK) {
        bm_wipe(text, size + tag_size);
    }
    int status = c.status;
    bm_wipe(&c, sizeof c);
    return status;
}
