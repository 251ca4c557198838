#include "stubs.h"

void bm_hmac_start(struct bm_sha256 *h, const uint8_t key[BM_PRK_SIZE])
{
    use(key, BM_PRK_SIZE);
    any(h, sizeof *h);
}

void bm_hmac_final(struct bm_sha256 *h, const uint8_t key[BM_PRK_SIZE], uint8_t tag[BM_HASH_SIZE])
{
    use(key, BM_PRK_SIZE);
    use(h, sizeof *h);
    any(tag, BM_HASH_SIZE);
}

void bm_hash_head(struct bm_sha256 *h, enum bm_major major, uint32_t argument)
{
    (void)major, (void)argument;
    any(h, sizeof *h);
}

void bm_hash_parts(struct bm_sha256 *h, const struct bm_part *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        use(parts[i].bytes, parts[i].size);
    }
    any(h, sizeof *h);
}

void bm_hash_string(struct bm_sha256 *h, const struct bm_part *parts, unsigned count)
{
    bm_hash_parts(h, parts, count);
}

void bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t prk[BM_PRK_SIZE], uint32_t label, const struct bm_part *context,
                        unsigned count, uint8_t keep)
{
    struct bm_sha256 h;

    (void)label;
    use(prk, BM_PRK_SIZE);
    bm_hash_parts(&h, context, count);
    use(out, keep ? size : 0);
    any(out, size);
}

void bm_edhoc_kdf(uint8_t *out, size_t size, const uint8_t prk[BM_PRK_SIZE], uint32_t label, const uint8_t *context,
                  size_t context_size)
{
    const struct bm_part part = {context, context_size};

    bm_edhoc_kdf_parts(out, size, prk, label, &part, 1, 0);
}
