#include "stubs.h"

void bm_sha256_init(struct bm_sha256 *h)
{
    any(h, sizeof *h);
}

void bm_sha256_update(struct bm_sha256 *h, const uint8_t *bytes, size_t size)
{
    use(bytes, size);
    any(h, sizeof *h);
}

void bm_sha256_final(struct bm_sha256 *h, uint8_t digest[BM_HASH_SIZE])
{
    any(digest, BM_HASH_SIZE);
    bm_wipe(h, sizeof *h);
}

void bm_sha256(uint8_t digest[BM_HASH_SIZE], const uint8_t *bytes, size_t size)
{
    use(bytes, size);
    any(digest, BM_HASH_SIZE);
}
