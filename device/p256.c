/* A field element is limbs of 16 bits, least significant first, below p = 2^256 - 2^224 + 2^192 + 2^96 - 1
 * (SP 800-186, 3.2.1.3). A Cortex-M0+ multiplies 32 by 32 to 32 bits, which is a product of two limbs, and the powers of
 * two in p lie on limb boundaries, so that reduction only adds whole limbs. With limbs of 32 bits,
 * BM_CONFIG_LONG_MULTIPLY, all of that holds where the processor multiplies to 64 bits. */
#include "internal.h"

#ifdef BM_CONFIG_LONG_MULTIPLY
typedef uint32_t limb;
typedef uint64_t unsigned_sum; /* of a product of two limbs and two limbs */
typedef int64_t signed_sum;
#define LIMBS_OF(low, high) (uint32_t)(high) << 16 | (low)
#define ONE_COPY
#else /* as a Cortex-M0+ has it */
typedef uint16_t limb;
typedef uint32_t unsigned_sum;
typedef int32_t signed_sum;
#define LIMBS_OF(low, high) low, high
#define ONE_COPY BM_NOINLINE /* of fold, which is slower and saves flash */
#endif

enum { LIMB_SIZE = sizeof(limb), LIMB_BITS = 8 * LIMB_SIZE, LIMBS = 32 / LIMB_SIZE };
#define LIMB_MASK ((limb)-1)

typedef limb element[LIMBS];

/* A product, or any sum of limbs, before reduction; each function below works in the caller's one. */
typedef signed_sum wide[2 * LIMBS];

static const element curve_b = {LIMBS_OF(0x604b, 0x27d2), LIMBS_OF(0x3c3e, 0x3bce), LIMBS_OF(0xb0f6, 0xcc53),
                                LIMBS_OF(0x06b0, 0x651d), LIMBS_OF(0x86bc, 0x7698), LIMBS_OF(0xbd55, 0xb3eb),
                                LIMBS_OF(0x93e7, 0xaa3a), LIMBS_OF(0x35d8, 0x5ac6)};

/* Add n times 2^224 - 2^192 - 2^96 + 1, which is 2^256 modulo p, with t as limb 0. */
static ONE_COPY void fold(signed_sum *t, signed_sum n)
{
    t[224 / LIMB_BITS] += n;
    t[192 / LIMB_BITS] -= n;
    t[96 / LIMB_BITS] -= n;
    t[0] += n;
}

/* Fold n in, bring the low limbs to their bits, and return what is left above them. */
static signed_sum carry(wide t, signed_sum n)
{
    fold(t, n);
    n = 0;
    for (unsigned i = 0; i < LIMBS; i++) {
        n += t[i];
        t[i] = n & LIMB_MASK;
        n >>= LIMB_BITS; /* gcc and clang shift arithmetically */
    }
    return n;
}

/* out is below 2^256, and t modulo p. The low limbs come below 8 times a limb's 2^16 or 2^32 in size, the high ones below once that. */
static void reduce(element out, wide t)
{
    signed_sum n = 0;

    for (unsigned i = LIMBS; i-- > 0;) {
        fold(t + i, t[i + LIMBS]); /* sums stay below 128 times it */
    }
    /* What is left above falls to at most 2^7, then 1, then 0 in size. */
    fold(t, carry(t, carry(t, 0)));
    for (unsigned i = 0; i < LIMBS; i++) {
        n += t[i];
        out[i] = (limb)n;
        n >>= LIMB_BITS;
    }
}

static void multiply(wide t, const element a, const element b)
{
    for (unsigned i = 0; i < LIMBS; i++) {
        t[i] = 0;
    }
    for (unsigned i = 0; i < LIMBS; i++) {
        unsigned_sum sum = 0;
        for (unsigned j = 0; j < LIMBS; j++) {
            sum += (unsigned_sum)t[i + j] + (unsigned_sum)a[j] * b[i]; /* at most all ones */
            t[i + j] = (signed_sum)(sum & LIMB_MASK);
            sum >>= LIMB_BITS;
        }
        t[i + LIMBS] = (signed_sum)sum;
    }
}

/* out = a b; out may be a or b. */
static void product(element out, const element a, const element b, wide t)
{
    multiply(t, a, b);
    reduce(out, t);
}

/* out = x^3 - 3 x + b, the square of y; out is not x. */
static void curve(element out, const element x, wide t)
{
    product(out, x, x, t);
    multiply(t, out, x);
    for (unsigned i = 0; i < LIMBS; i++) {
        t[i] += curve_b[i] - 3 * (signed_sum)x[i];
    }
    reduce(out, t);
}

/* y = p - y, or 0, and below p whatever y was: 2 p - y is less than p if y was not. */
static void negate(element y, wide t)
{
    for (unsigned i = 0; i < LIMBS; i++) {
        t[i] = -(signed_sum)y[i];
        t[i + LIMBS] = 0;
    }
    reduce(y, t);
}

/* 1 if y squared is square, else 0; square is used up. */
static int is_root(const element y, element square, wide t)
{
    uint32_t difference = 0;

    multiply(t, y, y);
    for (unsigned i = 0; i < LIMBS; i++) {
        t[i] -= square[i];
    }
    reduce(square, t);
    negate(square, t);
    for (unsigned i = 0; i < LIMBS; i++) {
        difference |= square[i];
    }
    return difference == 0;
}

/* y = a root of square if it has one: square^((p + 1) / 4), since p is 3 modulo 4. (p + 1) / 4 is
 * 2^254 - 2^222 + 2^190 + 2^94; the first of its bits is spent on the copy. */
static void root(element y, const element square, wide t)
{
    bm_copy((uint8_t *)y, (const uint8_t *)square, sizeof(element));
    for (unsigned bit = 253; bit-- > 0;) {
        product(y, y, y, t);
        if (bit >= 222 || bit == 190 || bit == 94) {
            product(y, y, square, t);
        }
    }
}

/* 1 if the number is below p, else 0. */
static int load(element out, const uint8_t bytes[32], wide t)
{
    for (unsigned i = LIMBS; i-- > 0; bytes += LIMB_SIZE) {
        out[i] = (limb)bm_get(bytes, LIMB_SIZE);
        t[i] = out[i];
    }
    return carry(t, 1) == 0; /* 2^256 - p more overflows exactly from p on */
}

int bm_p256_recover(uint8_t key[BM_KEY_SIZE], const uint8_t compressed[BM_COMPRESSED_SIZE])
{
    wide t;
    element square;
    element y; /* x until its square is known */

    if (compressed[0] >> 1 != 1 || !load(y, compressed + 1, t)) {
        return BM_ERR_MALFORMED;
    }
    curve(square, y, t);
    root(y, square, t);
    if (!is_root(y, square, t)) {
        return BM_ERR_MALFORMED;
    }
    do {
        negate(y, t); /* no point has y = 0: the curve's order is odd */
    } while ((y[0] & 1) != (compressed[0] & 1));
    bm_copy(key, compressed + 1, 32);
    key += 32;
    for (unsigned i = LIMBS; i-- > 0; key += LIMB_SIZE) {
        bm_put(key, LIMB_SIZE, y[i]);
    }
    return BM_OK;
}

int bm_p256_check(const uint8_t key[BM_KEY_SIZE])
{
    wide t;
    element square;
    element y; /* x until its square is known */

    if (!load(y, key, t)) {
        return BM_ERR_MALFORMED;
    }
    curve(square, y, t);
    return load(y, key + 32, t) && is_root(y, square, t) ? BM_OK : BM_ERR_MALFORMED;
}
