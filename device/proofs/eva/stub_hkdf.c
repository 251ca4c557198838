#include "stubs.h"

#ifndef ASSERTED_IN_STRING
#define ASSERTED_IN_STRING(count) 0
#define ASSERTED_IN_CONTEXT(count) 0
#endif

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

/* Parts with a bit in asserted are not looked at here. */
static void use_parts(const struct bm_part *parts, unsigned count, unsigned asserted)
{
    for (unsigned i = 0; i < count; i++) {
        if ((asserted >> i & 1) == 0) {
            use(parts[i].bytes, parts[i].size);
        }
    }
}

void bm_hash_parts(struct bm_sha256 *h, const struct bm_part *parts, unsigned count)
{
    use_parts(parts, count, 0);
    any(h, sizeof *h);
}

void bm_hash_string(struct bm_sha256 *h, const struct bm_part *parts, unsigned count)
{
    use_parts(parts, count, ASSERTED_IN_STRING(count));
    any(h, sizeof *h);
}

void bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t prk[BM_PRK_SIZE], uint32_t label, const struct bm_part *context,
                        unsigned count, uint8_t keep)
{
    (void)label;
    use(prk, BM_PRK_SIZE);
    use_parts(context, count, ASSERTED_IN_CONTEXT(count));
    use(out, keep ? size : 0);
    any(out, size);
}

void bm_edhoc_kdf(uint8_t *out, size_t size, const uint8_t prk[BM_PRK_SIZE], uint32_t label, const uint8_t *context,
                  size_t context_size)
{
    const struct bm_part part = {context, context_size};

    bm_edhoc_kdf_parts(out, size, prk, label, &part, 1, 0);
}
