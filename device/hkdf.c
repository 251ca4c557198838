#include "internal.h"

enum { BLOCK = 64 }; /* of SHA-256, bytes */

/* Hash the key's block of one of HMAC's two passes: ipad is 36, opad 5C. */
static void start(struct bm_sha256 *h, const uint8_t key[BM_PRK_SIZE], uint8_t pad)
{
    bm_sha256_init(h);
    for (unsigned i = 0; i < BLOCK; i++) {
        uint32_t *word = &h->words[i / 4];
        *word = *word << 8 | (uint8_t)(pad ^ (i < BM_PRK_SIZE ? key[i] : 0));
    }
    h->size = BLOCK;
    bm_sha256_block(h);
}

void bm_hmac_start(struct bm_sha256 *h, const uint8_t key[BM_PRK_SIZE])
{
    start(h, key, 0x36);
}

void bm_hmac_final(struct bm_sha256 *h, const uint8_t key[BM_PRK_SIZE], uint8_t tag[BM_HASH_SIZE])
{
    bm_sha256_final(h, tag);
    start(h, key, 0x5c);
    bm_sha256_update(h, tag, BM_HASH_SIZE);
    bm_sha256_final(h, tag);
}

void bm_hash_head(struct bm_sha256 *h, enum bm_major major, uint32_t argument)
{
    uint8_t head[BM_HEAD_MAX];

    bm_sha256_update(h, head, bm_head(head, major, argument));
}

void bm_hash_parts(struct bm_sha256 *h, const struct bm_part *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        bm_sha256_update(h, parts[i].bytes, parts[i].size);
    }
}

void bm_hash_string(struct bm_sha256 *h, const struct bm_part *parts, unsigned count)
{
    size_t size = 0;

    for (unsigned i = 0; i < count; i++) {
        size += parts[i].size;
    }
    bm_hash_head(h, BM_BYTES, (uint32_t)size);
    bm_hash_parts(h, parts, count);
}

void bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t prk[BM_PRK_SIZE], uint32_t label, const struct bm_part *context,
                        unsigned count, uint8_t keep)
{
    struct bm_sha256 h;
    uint8_t t[BM_HASH_SIZE];
    uint8_t block = 0;

    for (size_t done = 0; done < size;) {
        bm_hmac_start(&h, prk);
        bm_sha256_update(&h, t, block == 0 ? 0 : sizeof t);
        bm_hash_head(&h, BM_UINT, label);
        bm_hash_string(&h, context, count);
        bm_hash_head(&h, BM_UINT, (uint32_t)size);
        block++;
        bm_sha256_update(&h, &block, 1);
        bm_hmac_final(&h, prk, t);
        for (unsigned i = 0; i < sizeof t && done < size; i++, done++) {
            out[done] = (uint8_t)((out[done] & keep) ^ t[i]);
        }
    }
    bm_wipe(t, sizeof t);
}

void bm_edhoc_kdf(uint8_t *out, size_t size, const uint8_t prk[BM_PRK_SIZE], uint32_t label, const uint8_t *context,
                  size_t context_size)
{
    struct bm_part part;

    part.bytes = context;
    part.size = context_size;
    bm_edhoc_kdf_parts(out, size, prk, label, &part, 1, 0);
}
