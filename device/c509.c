#include "internal.h"

/* The order n of P-256's base point (SP 800-186, 3.2.1.3). */
static const uint8_t group_order[32] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
};

/* 1 if 0 < number and number times 2^shift < n, else 0. */
static int in_group(const uint8_t number[32], unsigned shift)
{
    int32_t difference = 0; /* of the bytes so far, as a borrow: gcc and clang shift arithmetically */
    uint32_t any = 0;

    for (unsigned i = 32; i-- > 0;) {
        difference += (int32_t)((uint32_t)number[i] << shift) - group_order[i];
        difference >>= 8;
        any |= number[i];
    }
    return difference < 0 && any != 0;
}

int bm_signature_allowed(const uint8_t signature[BM_SIGNATURE_SIZE])
{
    return in_group(signature, 0) && in_group(signature + 32, 1); /* low s: 2 s < n */
}

/* 1 if the order's range is one that docs/formats.md, "Names", allows, else 0. */
static int range_allowed(const struct bm_certificate *order)
{
    const uint8_t *first = order->first;
    const uint8_t *last = order->last;
    /* Blocks of 2^24 numbers with FF-FE in octets 4 and 5: how many begin up to last, how many end before first. */
    uint32_t begun = bm_get(last, 3) + ((bm_get(last + 3, 2) + 2) >> 16);
    uint32_t ended = bm_get(first, 3) + ((bm_get(first + 3, 2) + 1) >> 16);

    return !bm_is_all(0, first, BM_UNIT_NAME_SIZE) && bm_compare(first, last, BM_UNIT_NAME_SIZE) <= 0 &&
           !bm_is_all(0xff, last, BM_UNIT_NAME_SIZE) && begun == ended;
}

/* 1 if serial is the number, above 0, without its leading zeros, else 0. */
static int serial_agrees(const uint8_t *serial, size_t serial_size, const uint8_t *number, size_t number_size)
{
    while (number_size > 0 && *number == 0) {
        number++;
        number_size--;
    }
    return 0 < number_size && serial_size == number_size && bm_equal(serial, number, number_size);
}

static void read_order_extensions(struct bm_reader *r, struct bm_certificate *order)
{
    /* [-2 (critical keyUsage), 32 (keyCertSign), -4 (critical basicConstraints), 0 (pathLen), -33000, [ */
    static const uint8_t head[] = {0x86, 0x21, 0x18, 0x20, 0x23, 0x00, 0x39, 0x80, 0xe7, 0x83};

    bm_read_exactly(r, head, sizeof head);
    order->product = bm_read(r, BM_UINT);
    order->first = bm_read_bytes(r, BM_UNIT_NAME_SIZE);
    order->last = bm_read_bytes(r, BM_UNIT_NAME_SIZE);
}

/* An order's certificate, whose subject ends in its number, or a unit's, whose subject is one. */
static int parse(struct bm_certificate *c, const uint8_t *bytes, size_t size, int order)
{
    size_t issuer_size = order ? BM_ROOT_NAME_SIZE : BM_ORDER_NAME_SIZE;
    size_t subject_size = order ? BM_ORDER_NAME_SIZE : BM_UNIT_NAME_SIZE;
    size_t number_at = order ? BM_ROOT_NAME_SIZE : 0;
    struct bm_reader r;

    bm_read_start(&r, bytes, size);
    bm_read_expect(&r, BM_ARRAY, 11);
    bm_read_expect(&r, BM_UINT, 2); /* natively signed */
    size_t serial_size = bm_read(&r, BM_BYTES);
    const uint8_t *serial = bm_read_raw(&r, serial_size);
    bm_read_expect(&r, BM_UINT, 0); /* ECDSA with SHA-256 */
    c->issuer = bm_read_bytes(&r, issuer_size);
    (void)bm_read(&r, BM_UINT); /* notBefore: units have no clock */
    bm_read_expect(&r, BM_SIMPLE, BM_NULL); /* no notAfter */
    c->subject = bm_read_bytes(&r, subject_size);
    bm_read_expect(&r, BM_UINT, 1); /* P-256 */
    c->key = bm_read_bytes(&r, BM_COMPRESSED_SIZE);
    if (order) {
        read_order_extensions(&r, c);
    } else {
        bm_read_expect(&r, BM_NINT, 1 - 1); /* critical keyUsage, digitalSignature */
    }
    c->signature = bm_read_bytes(&r, BM_SIGNATURE_SIZE);
    if (bm_read_end(&r) != BM_OK) {
        return BM_ERR_MALFORMED;
    }
    c->signed_bytes = bytes + 1;
    c->signed_size = (size_t)(c->signature - bytes) - 1 - 2; /* without the array's head and the signature's */

    if (!serial_agrees(serial, serial_size, c->subject + number_at, subject_size - number_at) ||
        !bm_root_name_allowed(c->issuer) || c->key[0] >> 1 != 1 || !bm_signature_allowed(c->signature)) {
        return BM_ERR_MALFORMED;
    }
    if (order && (!bm_equal(c->subject, c->issuer, BM_ROOT_NAME_SIZE) || !range_allowed(c))) {
        return BM_ERR_MALFORMED;
    }
    return BM_OK;
}

int bm_root_name_allowed(const uint8_t name[BM_ROOT_NAME_SIZE])
{
    return name[0] <= 1 && name[1] != 0;
}

int bm_c509_order(struct bm_certificate *c, const uint8_t *bytes, size_t size)
{
    return parse(c, bytes, size, 1);
}

int bm_c509_unit(struct bm_certificate *c, const uint8_t *bytes, size_t size)
{
    return parse(c, bytes, size, 0);
}
