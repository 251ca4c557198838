#include "stubs.h"

int bm_p256_recover(uint8_t key[BM_KEY_SIZE], const uint8_t compressed[BM_COMPRESSED_SIZE])
{
    use(compressed, BM_COMPRESSED_SIZE);
    if (Frama_C_interval(0, 1)) {
        return BM_ERR_MALFORMED;
    }
    any(key, BM_KEY_SIZE);
    return BM_OK;
}

int bm_p256_check(const uint8_t key[BM_KEY_SIZE])
{
    use(key, BM_KEY_SIZE);
    return Frama_C_interval(0, 1) ? BM_ERR_MALFORMED : BM_OK;
}
