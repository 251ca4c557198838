#include "identity.h"
#include "installed.h"

/* The chip, whose slot 8 holds any bytes. */
int bm_atecc608_read_slot(struct bm_atecc608 *chip, unsigned block, uint8_t out[BM_ATECC608_BLOCK_SIZE])
{
    (void)block;
    any(&chip->status, 1);
    return stub_output(out, BM_ATECC608_BLOCK_SIZE);
}

void load(void)
{
    struct bm_atecc608 chip = {.status = 0};
    struct bm_identity identity;

    if (bm_installed_load(&chip, &identity) == BM_OK && identity.id_size > 0) {
        use_identity(&identity);
    }
}
