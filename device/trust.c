#include "internal.h"

/* BM_OK, BM_ERR_PORT, or check when the certificate's signature is not key's. */
static int signed_by(const struct bm_port *port, const uint8_t key[BM_KEY_SIZE], const struct bm_certificate *c, int check)
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, c->signed_bytes, c->signed_size);
    int status = port->verify(port->user, key, digest, c->signature);
    if (status == BM_ERR_AUTH) {
        return check;
    }
    return status == BM_OK ? BM_OK : BM_ERR_PORT;
}

static int anchor_good(const uint8_t anchor[BM_ANCHOR_SIZE], const struct bm_image *image)
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, anchor, BM_ANCHOR_SIZE);
    return bm_equal(digest, image->anchor_hash, BM_HASH_SIZE) && bm_root_name_allowed(anchor) &&
           bm_p256_check(anchor + BM_ROOT_NAME_SIZE) == BM_OK;
}

/* 1 if compressed is key. Both are points, so X and the parity of Y settle it and nothing is recovered. */
static int same_key(const uint8_t compressed[BM_COMPRESSED_SIZE], const uint8_t key[BM_KEY_SIZE])
{
    return (compressed[0] & 1) == (key[BM_KEY_SIZE - 1] & 1) && bm_equal(compressed + 1, key, BM_KEY_SIZE / 2);
}

int bm_trust(const struct bm_port *port, const struct bm_image *image, const struct bm_birth *birth)
{
    struct bm_certificate order;
    struct bm_certificate unit;
    uint8_t key[BM_KEY_SIZE];

    if (!anchor_good(birth->anchor, image)) {
        return BM_CHECK_ANCHOR;
    }
    if (bm_c509_order(&order, birth->order, birth->order_size) != BM_OK || bm_p256_recover(key, order.key) != BM_OK) {
        return BM_CHECK_ORDER;
    }
    if (!bm_equal(order.issuer, birth->anchor, BM_ROOT_NAME_SIZE)) {
        return BM_CHECK_ORDER_ISSUER;
    }
    int status = signed_by(port, birth->anchor + BM_ROOT_NAME_SIZE, &order, BM_CHECK_ORDER_SIGNATURE);
    if (status != BM_OK) {
        return status;
    }
    if (order.product != image->product) {
        return BM_CHECK_PRODUCT;
    }
    if (bm_c509_unit(&unit, birth->unit, birth->unit_size) != BM_OK) {
        return BM_CHECK_UNIT;
    }
    if (!bm_equal(unit.issuer, order.subject, BM_ORDER_NAME_SIZE)) {
        return BM_CHECK_UNIT_ISSUER;
    }
    uint64_t serial = bm_get(unit.subject, BM_UNIT_NAME_SIZE);
    if (serial < bm_get(order.first, BM_UNIT_NAME_SIZE) || serial > bm_get(order.last, BM_UNIT_NAME_SIZE)) {
        return BM_CHECK_SERIAL;
    }
    if (!same_key(unit.key, birth->key)) {
        return BM_CHECK_KEY;
    }
    return signed_by(port, key, &unit, BM_CHECK_UNIT_SIGNATURE);
}
