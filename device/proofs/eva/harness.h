/* What the harnesses share. A harness calls one function for inputs of LO to HI bytes, every byte of any value, and
 * keeps one state for each length. The input ends where its object ends: a read past the one is a read past the other. */
#ifndef HARNESS_H
#define HARNESS_H

#include <stddef.h>
#include <stdint.h>

#include "__fc_builtin.h"

static uint8_t input[HI + 1]; /* an object has at least one byte */

#define INPUT(size) (input + (sizeof input - (size)))
#define FOR_EACH_SIZE(size)                                                                                                    \
    /*@ loop unroll 4096; */                                                                                                   \
    for (size_t size = LO; Frama_C_make_unknown((char *)input, sizeof input), size <= HI; size++)

/* Fill an area with any bytes. */
static inline void any(void *area, size_t size)
{
    if (size > 0) {
        Frama_C_make_unknown(area, size);
    }
}

/* Read the ends of an area, as one who uses a result would. */
static inline void use(const void *area, size_t size)
{
    volatile uint8_t sink = 0;

    if (size > 0) {
        sink = ((const uint8_t *)area)[0];
        sink = ((const uint8_t *)area)[size - 1];
    }
    (void)sink;
}

/* Said where an input was taken: scripts/proofs wants to see it, since nothing is proven of a path that is never gone. */
void Frama_C_show_each_accepted(void);
#define ACCEPTED() Frama_C_show_each_accepted()

#endif
