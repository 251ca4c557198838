#include "internal.h"

void bm_copy(uint8_t *to, const uint8_t *from, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        to[i] = from[i];
    }
}

int bm_equal(const uint8_t *a, const uint8_t *b, size_t size)
{
    uint32_t difference = 0;

    for (size_t i = 0; i < size; i++) {
        difference |= (uint32_t)(a[i] ^ b[i]);
    }
    return (int)((difference - 1) >> 31); /* difference < 256, so only 0 borrows */
}

void bm_wipe(void *area, size_t size)
{
    volatile uint8_t *byte = area;

    for (size_t i = 0; i < size; i++) {
        byte[i] = 0;
    }
}

int bm_compare(const uint8_t *a, const uint8_t *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) {
            return a[i] - b[i];
        }
    }
    return 0;
}

int bm_is_all(uint8_t byte, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != byte) {
            return 0;
        }
    }
    return 1;
}

uint32_t bm_get(const uint8_t *bytes, size_t size)
{
    uint32_t value = 0;

    for (size_t i = 0; i < size; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

void bm_put(uint8_t *out, size_t size, uint32_t value)
{
    for (; size > 0; size--) {
        out[size - 1] = (uint8_t)value;
        value >>= 8;
    }
}
