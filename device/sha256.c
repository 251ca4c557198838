#include "internal.h"

/* FIPS 180-4, 4.2.2 */
static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* FIPS 180-4, 5.3.3 */
static const uint32_t start[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static uint32_t rotate(uint32_t x, unsigned bits)
{
    return x >> bits | x << (32 - bits);
}

/* FIPS 180-4, 6.2.2. The working variables a to h are v[0] to v[7]. Rotations are nested, which takes fewer instructions:
 * rotate(rotate(x, 2) ^ x, 17) is rotate(x, 19) ^ rotate(x, 17). */
void bm_sha256_block(struct bm_sha256 *h)
{
    uint32_t *w = h->words;
    uint32_t v[8];

    bm_copy((uint8_t *)v, (const uint8_t *)h->state, sizeof v);
    for (unsigned t = 0; t < 64; t++) {
        if (t >= 16) {
            uint32_t w2 = w[(t - 2) & 15];
            uint32_t w15 = w[(t - 15) & 15];
            w[t & 15] += (rotate(rotate(w2, 2) ^ w2, 17) ^ w2 >> 10) + w[(t - 7) & 15] +
                         (rotate(rotate(w15, 11) ^ w15, 7) ^ w15 >> 3);
        }
        uint32_t a = v[0];
        uint32_t e = v[4];
        uint32_t t1 = v[7] + rotate(rotate(rotate(e, 14) ^ e, 5) ^ e, 6) + ((e & (v[5] ^ v[6])) ^ v[6]) +
                      k[t] + w[t & 15];
        uint32_t t2 = rotate(rotate(rotate(a, 9) ^ a, 11) ^ a, 2) + ((a & v[1]) | ((a | v[1]) & v[2]));
        for (unsigned i = 7; i > 0; i--) {
            v[i] = v[i - 1];
        }
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++) {
        h->state[i] += v[i];
    }
    bm_wipe(v, sizeof v);
}

void bm_sha256_init(struct bm_sha256 *h)
{
    bm_copy((uint8_t *)h->state, (const uint8_t *)start, sizeof start);
    h->size = 0;
}

void bm_sha256_update(struct bm_sha256 *h, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint32_t *word = &h->words[h->size / 4 % 16];
        *word = *word << 8 | bytes[i];
        h->size++;
        if (h->size % 64 == 0) {
            bm_sha256_block(h);
        }
    }
}

void bm_sha256_final(struct bm_sha256 *h, uint8_t digest[BM_HASH_SIZE])
{
    uint32_t size = h->size;
    uint8_t pad = 0x80;

    do {
        bm_sha256_update(h, &pad, 1);
        pad = 0;
    } while (h->size % 64 != 56);
    h->words[14] = size >> 29; /* the message's size in bits */
    h->words[15] = size << 3;
    bm_sha256_block(h);
    for (unsigned i = 0; i < 8; i++) {
        bm_put(digest + 4 * i, 4, h->state[i]);
    }
    bm_wipe(h, sizeof *h);
}

void bm_sha256(uint8_t digest[BM_HASH_SIZE], const uint8_t *bytes, size_t size)
{
    struct bm_sha256 h;

    bm_sha256_init(&h);
    bm_sha256_update(&h, bytes, size);
    bm_sha256_final(&h, digest);
}
