/* What the library's files share and no caller sees. */
#ifndef BM_INTERNAL_H
#define BM_INTERNAL_H

#include "birthmark.h"

/* On a function with much on its stack that calls nothing deep: inlined, its frame would lie below all that its caller calls. And on a
 * small one where gcc's copies in each caller take more flash than the calls. */
#if defined(__GNUC__)
#define BM_NOINLINE __attribute__((noinline))
#else
#define BM_NOINLINE
#endif

/* bytes.c: loops of our own, so that the library links without a C library. */

/* Copy size bytes; the areas must not overlap. */
void bm_copy(uint8_t *to, const uint8_t *from, size_t size);
/* 1 if both areas hold the same size bytes, else 0. The time taken depends on size alone. */
BM_MUST_CHECK int bm_equal(const uint8_t *a, const uint8_t *b, size_t size);
/* Overwrite a secret with zeros; the compiler may not leave it out. */
void bm_wipe(void *area, size_t size);
/* Below, at or above 0 as one big-endian number is below, equal to or above another. Public data only, as of the next. */
BM_MUST_CHECK int bm_compare(const uint8_t *a, const uint8_t *b, size_t size);
/* 1 if each of size bytes is this one, else 0. */
BM_MUST_CHECK int bm_is_all(uint8_t byte, const uint8_t *bytes, size_t size);
/* The big-endian number in size bytes, 0 to 4. */
BM_MUST_CHECK uint32_t bm_get(const uint8_t *bytes, size_t size);
/* Write the low size bytes of value, 0 to 4 of them, big-endian. */
void bm_put(uint8_t *out, size_t size, uint32_t value);

/* crc16.c: the CRC of chip, line and flash (docs/wire.md, "Frame") over further bytes; crc is 0 at the start. */
BM_MUST_CHECK uint16_t bm_crc16(uint16_t crc, const uint8_t *bytes, size_t size);

/* sha256.c: FIPS 180-4, messages below 2^32 bytes. */
struct bm_sha256 {
    uint32_t state[8];
    uint32_t size;      /* bytes hashed so far */
    uint32_t words[16]; /* the block that is being filled, then its schedule's last 16 words */
};

void bm_sha256_init(struct bm_sha256 *h);
/* Hash the block in words, whatever size says. */
void bm_sha256_block(struct bm_sha256 *h);
void bm_sha256_update(struct bm_sha256 *h, const uint8_t *bytes, size_t size);
/* Write the digest and wipe h. */
void bm_sha256_final(struct bm_sha256 *h, uint8_t digest[BM_HASH_SIZE]);
void bm_sha256(uint8_t digest[BM_HASH_SIZE], const uint8_t *bytes, size_t size);

/* ccm.c: AES-CCM with a 13-byte nonce, L = 2 (RFC 3610): AES-CCM-16-64-128 and AES-CCM-16-128-128 of RFC 9053, 4.2. */
#define BM_CCM_NONCE_SIZE 13
#define BM_CCM_KEY_SIZE (BM_AES_KEY_SIZE + BM_CCM_NONCE_SIZE)

/* Encrypt text, size bytes, in place and write its tag, tag_size bytes (8 or 16), behind it; or with open, check the tag and
 * decrypt. key is followed by the nonce. size is below 2^16, aad_size below 2^16 - 2^8. BM_OK; BM_ERR_AUTH for a tag that does
 * not hold, BM_ERR_PORT: text and tag are then wiped. */
BM_MUST_CHECK int bm_ccm(const struct bm_port *port, const uint8_t key[BM_CCM_KEY_SIZE], const uint8_t *aad, size_t aad_size,
                         uint8_t *text, size_t size, size_t tag_size, unsigned open);

/* cbor.c: deterministic CBOR (RFC 8949, 4.2) without floats. Numbers and sizes are below 2^32, as no format of ours has a
 * larger one: an eight-byte argument is refused. */
enum bm_major {
    BM_UINT = 0,
    BM_NINT = 1, /* the argument n stands for -1 - n */
    BM_BYTES = 2,
    BM_TEXT = 3,
    BM_ARRAY = 4,
    BM_MAP = 5,
    BM_TAG = 6,
    BM_SIMPLE = 7
};
enum { BM_FALSE = 20, BM_TRUE = 21, BM_NULL = 22 }; /* arguments of BM_SIMPLE */

/* A reader works by index and its error sticks: after the first item that is not what the caller asked for, every read gives 0,
 * so a parser looks once, with bm_read_end. bytes stays the caller's and what is read aliases it. */
struct bm_reader {
    const uint8_t *bytes;
    size_t size;
    size_t at;
    int bad;
};

void bm_read_start(struct bm_reader *r, const uint8_t *bytes, size_t size);
/* The major type of the next item; BM_SIMPLE too where nothing follows. */
BM_MUST_CHECK enum bm_major bm_read_peek(const struct bm_reader *r);
/* The argument of the next head, which must be of this major type and in its shortest form. */
uint32_t bm_read(struct bm_reader *r, enum bm_major major);
/* The next head must be exactly this one. */
void bm_read_expect(struct bm_reader *r, enum bm_major major, uint32_t argument);
/* The next size bytes as they are, what a string's head announced; NULL after an error. */
const uint8_t *bm_read_raw(struct bm_reader *r, size_t size);
/* The content of a byte string of exactly size bytes; NULL after an error. */
const uint8_t *bm_read_bytes(struct bm_reader *r, size_t size);
/* The next bytes must be exactly these: items that are always the same. */
void bm_read_exactly(struct bm_reader *r, const uint8_t *bytes, size_t size);
/* Pass over the next item whole. Floats and simple values from 24 on are refused; that a map's keys are in order is not checked. */
void bm_read_skip(struct bm_reader *r);
/* BM_OK if every read held and nothing follows, else BM_ERR_MALFORMED. */
BM_MUST_CHECK int bm_read_end(const struct bm_reader *r);

#define BM_HEAD_MAX 5
/* The encoding of one head; its size is returned. */
size_t bm_head(uint8_t head[BM_HEAD_MAX], enum bm_major major, uint32_t argument);

/* A writer writes only inside its size but counts on: len > size says that the buffer was too small and how many
 * bytes it takes. */
struct bm_writer {
    uint8_t *out;
    size_t size;
    size_t len;
};

void bm_write_start(struct bm_writer *w, uint8_t *out, size_t size);
/* A head alone: a number, a simple value, or an array's or string's before its content. */
void bm_write(struct bm_writer *w, enum bm_major major, uint32_t argument);
/* Bytes as they are. */
void bm_write_raw(struct bm_writer *w, const uint8_t *bytes, size_t size);
/* A whole string: major is BM_BYTES or BM_TEXT, and text is given as its bytes. */
void bm_write_string(struct bm_writer *w, enum bm_major major, const void *bytes, size_t size);

/* hkdf.c: HMAC and HKDF with SHA-256 (RFC 2104, RFC 5869), EDHOC_KDF (RFC 9528, 4.1.2). */
#define BM_PRK_SIZE 32

/* HMAC under a key of BM_PRK_SIZE bytes, which is a shorter one with zeros behind it: start, bm_sha256_update, final. */
void bm_hmac_start(struct bm_sha256 *h, const uint8_t key[BM_PRK_SIZE]);
/* Write the tag, which may not lie over the key, and wipe h. */
void bm_hmac_final(struct bm_sha256 *h, const uint8_t key[BM_PRK_SIZE], uint8_t tag[BM_HASH_SIZE]);

/* One of several areas of memory that are hashed as if they were one. */
struct bm_part {
    const uint8_t *bytes;
    size_t size;
};

/* Hash one head; what it announces follows by bm_sha256_update. */
void bm_hash_head(struct bm_sha256 *h, enum bm_major major, uint32_t argument);
void bm_hash_parts(struct bm_sha256 *h, const struct bm_part *parts, unsigned count);
/* Hash a byte string that is made of these parts. */
void bm_hash_string(struct bm_sha256 *h, const struct bm_part *parts, unsigned count);
/* EDHOC_KDF(prk, label, context, size): HKDF-Expand with info = (label, context as a bstr, size). size is 0 to 255 * 32. out may
 * not lie over context; it may be prk where size is at most 32. */
void bm_edhoc_kdf(uint8_t *out, size_t size, const uint8_t prk[BM_PRK_SIZE], uint32_t label, const uint8_t *context,
                  size_t context_size);
/* The same with a context in parts, XORed to what out holds where keep is FF; otherwise keep is 0. */
void bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t prk[BM_PRK_SIZE], uint32_t label, const struct bm_part *context,
                        unsigned count, uint8_t keep);

/* edhoc.c: what a session takes over. */

/* State n of a struct bm_edhoc waits for message n, on both sides; the Initiator writes 1 and 3, the Responder 2 and 4. */
enum { BM_EDHOC_COMPLETE = 5 };

/* p256.c: points of P-256 (SEC 1, 2.3.3 and 2.3.4). Public data only: the time taken depends on the point. */

/* X then Y of a compressed point, 02 or 03 and x. BM_ERR_MALFORMED for any other first byte, x >= p and an x that is
 * not on the curve; key is then not written. compressed may be the end of key, its last 33 bytes. */
BM_MUST_CHECK int bm_p256_recover(uint8_t key[BM_KEY_SIZE], const uint8_t compressed[BM_COMPRESSED_SIZE]);
/* BM_OK if X then Y, both below p, is a point of the curve, else BM_ERR_MALFORMED. */
BM_MUST_CHECK int bm_p256_check(const uint8_t key[BM_KEY_SIZE]);

/* c509.c: one certificate of the profile (docs/formats.md; draft-ietf-cose-cbor-encoded-cert-21, type 2). The fields
 * alias the certificate's bytes. */
struct bm_certificate {
    const uint8_t *signed_bytes; /* what the signature covers: items 1 to 10 without the array head */
    size_t signed_size;
    const uint8_t *issuer;  /* order: BM_ROOT_NAME_SIZE bytes; unit: BM_ORDER_NAME_SIZE */
    const uint8_t *subject; /* order: BM_ORDER_NAME_SIZE bytes; unit: BM_UNIT_NAME_SIZE; agrees with the serial */
    const uint8_t *key;     /* BM_COMPRESSED_SIZE bytes; whether x is on the curve is bm_p256_recover's to say */
    const uint8_t *signature; /* BM_SIGNATURE_SIZE bytes: 1 <= r < n, 1 <= s <= n / 2 */
    /* An order's alone: */
    uint32_t product;
    const uint8_t *first; /* BM_UNIT_NAME_SIZE bytes each, the range of EUI-64s that it may give out */
    const uint8_t *last;
};

/* BM_OK or BM_ERR_MALFORMED, which leaves *c undefined. A certificate has no second encoding: its fields determine
 * every byte. */
BM_MUST_CHECK int bm_c509_order(struct bm_certificate *c, const uint8_t *bytes, size_t size);
BM_MUST_CHECK int bm_c509_unit(struct bm_certificate *c, const uint8_t *bytes, size_t size);
/* 1 if 1 <= r < n and 1 <= s <= n / 2: of an ECDSA signature's two forms the one that certificates and objects have. */
BM_MUST_CHECK int bm_signature_allowed(const uint8_t signature[BM_SIGNATURE_SIZE]);
/* 1 if a root may have this name: no flag but the test authority's, and epochs count from 1. */
BM_MUST_CHECK int bm_root_name_allowed(const uint8_t name[BM_ROOT_NAME_SIZE]);

#endif
