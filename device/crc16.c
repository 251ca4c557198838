#include "internal.h"

uint16_t bm_crc16(uint16_t crc, const uint8_t *bytes, size_t size)
{
    uint32_t reg = crc; /* bits above 15 are what was shifted out */

    for (size_t i = 0; i < size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint32_t feedback = (reg >> 15 ^ (uint32_t)bytes[i] >> bit) & 1;
            reg = reg << 1 ^ feedback * 0x8005;
        }
    }
    return (uint16_t)reg;
}
