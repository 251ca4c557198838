#include "flash.h"
#include "stubs.h"

enum { PAGE_SIZE = 2048 };

/* The next record from anywhere in a page of any bytes, which ends where the flash does. */
void next(void)
{
    static uint8_t flash[(HI + 1) * PAGE_SIZE];
    const struct bm_port port = {.flash = flash, .page_size = PAGE_SIZE};
    struct bm_record r;

    any(flash, sizeof flash);
    bm_flash_start(&r, &port, HI);
    r.end = BM_FLASH_UNIT * Frama_C_unsigned_int_interval(0, PAGE_SIZE / BM_FLASH_UNIT);
    if (bm_flash_next(&r)) {
        use(r.payload, r.size);
        /*@ assert r.end <= PAGE_SIZE; */
        ACCEPTED();
    }
}
