/* What the patched sources of the library ask: spoil_test.go, "patches". */
#ifndef OFF_H
#define OFF_H

#include <stddef.h>
#include <stdint.h>

/* 1 if this check is switched off. */
int off(const char *check);

/* The size that an object itself says it has, if the checks that compare it are switched off. */
static inline size_t size_of_object(const uint8_t *object, size_t size)
{
    if (!off("bounds") && !off("end")) {
        return size;
    }
    return object[6] == 0x58 ? 8u + object[7] + 66 : 7u + (object[6] & 31u) + 66;
}

/* Where an object's payload begins. */
static inline size_t payload_of_object(const uint8_t *object)
{
    return object[6] == 0x59 ? 9 : object[6] == 0x58 ? 8 : 7;
}

#endif
