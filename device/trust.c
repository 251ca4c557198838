#include "trust.h"

#include "flash.h"
#include "internal.h"

enum {
    BIRTH = 2,    /* beside enum bm_trust_mode */
    AT_EPOCH = 1, /* in an anchor, and so in a link's payload and in every name */
    AT_KEY = BM_ROOT_NAME_SIZE,
    AT_NEXT = AT_KEY + BM_KEY_SIZE,
    ORDERS_MAX = 32, /* behind the anchor in a link's payload */
    LIST_AT_PREFIX = 6, /* its size; it stands behind the counts */
    LIST_AT_ORDERS = 7,
    LIST_AT_RANGES = 8,
    LIST_HEAD_SIZE = 9,
    LIST_ORDER_SIZE = 3,
    RELEASE_AT_GENERATION = BM_ROOT_NAME_SIZE + BM_UNIT_NAME_SIZE,
    RELEASE_SIZE = RELEASE_AT_GENERATION + 4,
    COSE_HEAD_SIZE = 6,                    /* array, protected header, unprotected header */
    COSE_TAIL_SIZE = 2 + BM_SIGNATURE_SIZE /* the signature with its head */
};

/* BM_OK, BM_ERR_PORT, or refused if the signature is not key's. */
static int verify(const struct bm_port *port, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                  const uint8_t signature[BM_SIGNATURE_SIZE], int refused)
{
    int status = port->verify(port->user, key, digest, signature);

    return status == BM_OK ? BM_OK : status == BM_ERR_AUTH ? refused : BM_ERR_PORT;
}

/* Root-signed objects: COSE_Sign1 (RFC 9052, 4.2) in one encoding. */

/* The payload of an object, or NULL if it is malformed. */
static const uint8_t *open_object(const uint8_t *object, size_t size, size_t *payload_size)
{
    static const uint8_t head[COSE_HEAD_SIZE] = {0x84, 0x43, 0xA1, 0x01, 0x26, 0xA0}; /* {1: -7}, ES256; {} */
    struct bm_reader r;

    bm_read_start(&r, object, size);
    bm_read_exactly(&r, head, COSE_HEAD_SIZE);
    uint32_t told = bm_read(&r, BM_BYTES);
    *payload_size = size - r.at - COSE_TAIL_SIZE; /* what is left has one size alone */
    const uint8_t *payload = bm_read_raw(&r, *payload_size);
    const uint8_t *signature = bm_read_bytes(&r, BM_SIGNATURE_SIZE);
    return told == *payload_size && bm_read_end(&r) == BM_OK && bm_signature_allowed(signature) ? payload : NULL;
}

/* external_aad of each kind, with its head. */
static const uint8_t link_aad[] = "\x50" "birthmark link 1";
static const uint8_t list_aad[] = "\x50" "birthmark list 1";
static const uint8_t release_aad[] = "\x53" "birthmark release 1";

/* Verify the signature of an object that was opened, over its Sig_structure (RFC 9052, 4.4): BM_OK, BM_ERR_AUTH or BM_ERR_PORT. */
static int verify_object(const struct bm_port *port, const uint8_t key[BM_KEY_SIZE], const uint8_t *object, size_t size,
                         const uint8_t *aad)
{
    static const uint8_t context[] = {0x84, 0x6A, 'S', 'i', 'g', 'n', 'a', 't', 'u', 'r', 'e', '1'};
    uint8_t digest[BM_HASH_SIZE];
    struct bm_sha256 h;

    bm_sha256_init(&h);
    bm_sha256_update(&h, context, sizeof context);
    bm_sha256_update(&h, object + 1, COSE_HEAD_SIZE - 2); /* the protected header */
    bm_sha256_update(&h, aad, 1 + (aad[0] & 31u));
    bm_sha256_update(&h, object + COSE_HEAD_SIZE, size - COSE_HEAD_SIZE - COSE_TAIL_SIZE); /* the payload, with its head */
    bm_sha256_final(&h, digest);
    return verify(port, key, digest, object + size - BM_SIGNATURE_SIZE, BM_ERR_AUTH);
}

/* Roots: the anchor in the trust page, and the links behind it, whose payloads begin as an anchor does. */

/* The next of them, or NULL; orders_size is how many bytes of orders it closes. */
static const uint8_t *next_root(struct bm_record *r, size_t *orders_size)
{
    if (!bm_flash_next(r)) {
        return NULL;
    }
    size_t size = r->size;
    const uint8_t *root = r->kind == BM_RECORD_ANCHOR ? r->payload : open_object(r->payload, r->size, &size);
    if (root == NULL || size < BM_ANCHOR_SIZE) {
        return NULL;
    }
    *orders_size = size - BM_ANCHOR_SIZE;
    return root;
}

/* The root of this epoch, or the newest for epoch 0; NULL if it is not known. r is then where it lies. With an image the anchor must be
 * the one that it names. */
static const uint8_t *find_root(const struct bm_port *port, const struct bm_image *image, unsigned epoch, struct bm_record *r)
{
    const uint8_t *newest = NULL;
    const uint8_t *root;
    size_t orders_size;

    bm_flash_start(r, port, BM_PAGE_TRUST);
    while ((root = next_root(r, &orders_size)) != NULL) {
        uint8_t digest[BM_HASH_SIZE];
        bm_sha256(digest, root, BM_ANCHOR_SIZE);
        if (newest == NULL && image != NULL && !bm_equal(digest, image->anchor_hash, BM_HASH_SIZE)) {
            return NULL;
        }
        newest = root;
        if (root[AT_EPOCH] == epoch) {
            return root;
        }
    }
    return epoch == 0 ? newest : NULL;
}

/* The root that signs an order of this name, if it is known and has not closed the order out; else *check says which. */
static const uint8_t *find_open_root(const struct bm_port *port, const struct bm_image *image, const uint8_t *name,
                                     const uint8_t order_hash[BM_ORDER_HASH_SIZE], int *check)
{
    struct bm_record r;
    size_t size;
    const uint8_t *root = find_root(port, image, name[AT_EPOCH], &r);

    *check = BM_CHECK_ROOT;
    if (root == NULL || root[0] != name[0]) {
        return NULL;
    }
    const uint8_t *link = next_root(&r, &size); /* that closed it */
    if (link == NULL) {
        return root;
    }
    for (const uint8_t *listed = link + BM_ANCHOR_SIZE; size >= BM_ORDER_HASH_SIZE; size -= BM_ORDER_HASH_SIZE) {
        if (bm_equal(listed, order_hash, BM_ORDER_HASH_SIZE)) {
            return root;
        }
        listed += BM_ORDER_HASH_SIZE;
    }
    *check = BM_CHECK_CLOSED;
    return NULL;
}

/* Status list */

/* What a list's payload says of a unit, given the order's name from its epoch on, and the serial number: BM_OK, BM_CHECK_REVOKED or
 * BM_CHECK_HELD; BM_ERR_MALFORMED if its parts do not have their sizes, or their numbers do not rise. */
static int scan(const uint8_t *list, size_t list_size, const uint8_t *order, const uint8_t *serial)
{
    int found = BM_OK;

    if (list_size < LIST_HEAD_SIZE || list[LIST_AT_PREFIX] >= BM_UNIT_NAME_SIZE) {
        return BM_ERR_MALFORMED;
    }
    size_t prefix = list[LIST_AT_PREFIX];
    /*@ split prefix; */
    size_t at = LIST_HEAD_SIZE + prefix;
    unsigned ranges = list[LIST_AT_ORDERS]; /* where they begin, and the single numbers */
    unsigned singles = ranges + list[LIST_AT_RANGES];
    for (unsigned i = 0; at < list_size || i < singles; i++) {
        const uint8_t *name = order;
        size_t width = LIST_ORDER_SIZE;
        int match = 1;
        if (i >= ranges) {
            name = serial + prefix;
            width = BM_UNIT_NAME_SIZE - prefix;
            match = bm_compare(list + LIST_HEAD_SIZE, serial, prefix) == 0;
        }
        size_t span = i >= ranges && i < singles ? 2 * width : width; /* a number, or the first and the last of a range */
        int follows = i > 0 && i != ranges && i != singles;           /* a number of the same part */
        at += span;
        if (at > list_size || (span > width && bm_compare(list + at - span, list + at - width, width) >= 0) ||
            (follows && bm_compare(list + at - span - width, list + at - span, width) >= 0)) {
            return BM_ERR_MALFORMED;
        }
        if (match && bm_compare(list + at - span, name, width) <= 0 && bm_compare(name, list + at - width, width) <= 0) {
            found = i >= singles || found == BM_CHECK_REVOKED ? BM_CHECK_REVOKED : BM_CHECK_HELD;
        }
    }
    return at == list_size ? found : BM_ERR_MALFORMED;
}

static const uint8_t *find_list(const struct bm_port *port, size_t *size)
{
    struct bm_record r;

    return bm_flash_state(port, BM_RECORD_LIST, &r) ? open_object(r.payload, r.size, size) : NULL;
}

static int find_listed(const struct bm_port *port, const struct bm_certificate *unit)
{
    size_t size;
    const uint8_t *list = find_list(port, &size);

    return list == NULL ? BM_OK : scan(list, size, unit->issuer + AT_EPOCH, unit->subject);
}

/* Births and peers */

static int product_allowed(const struct bm_image *image, int mode, uint32_t product)
{
    int allowed = mode != BM_TRUST_UNIT && product == image->product;

    for (unsigned i = 0; mode != BIRTH && i < image->peer_count; i++) {
        allowed |= product == image->peers[i];
    }
    return allowed;
}

/* 1 if the order may name this serial number, or it is the station's. */
static int serial_allowed(const struct bm_certificate *order, int mode, const struct bm_certificate *unit)
{
    return (bm_compare(order->first, unit->subject, BM_UNIT_NAME_SIZE) <= 0 &&
            bm_compare(unit->subject, order->last, BM_UNIT_NAME_SIZE) <= 0) ||
           (mode == BM_TRUST_STATION && bm_is_all(0xff, unit->subject, BM_UNIT_NAME_SIZE));
}

/* 1 if compressed is key. Both are points, so X and the parity of Y settle it and nothing is recovered. */
static int same_key(const uint8_t compressed[BM_COMPRESSED_SIZE], const uint8_t key[BM_KEY_SIZE])
{
    return (compressed[0] & 1) == (key[BM_KEY_SIZE - 1] & 1) && bm_equal(compressed + 1, key, BM_KEY_SIZE / 2);
}

/* BM_OK, BM_ERR_PORT, or check when the certificate's signature is not key's. */
static int signed_by(const struct bm_port *port, const uint8_t key[BM_KEY_SIZE], const struct bm_certificate *c, int check)
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, c->signed_bytes, c->signed_size);
    return verify(port, key, digest, c->signature, check);
}

static void hash_order(uint8_t order_hash[BM_ORDER_HASH_SIZE], const struct bm_birth *birth)
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, birth->order, birth->order_size);
    bm_copy(order_hash, digest, BM_ORDER_HASH_SIZE);
}

/* Judge the certificates of a birth, or of a peer, which is one without anchor and key. key is the order's for a while, and then
 * the peer's. */
static int judge(const struct bm_port *port, const struct bm_image *image, int mode, const struct bm_birth *birth,
                 uint8_t key[BM_KEY_SIZE], uint8_t order_hash[BM_ORDER_HASH_SIZE])
{
    struct bm_certificate order;
    struct bm_certificate unit;
    int status;

    if (bm_c509_order(&order, birth->order, birth->order_size) != BM_OK || bm_p256_recover(key, order.key) != BM_OK) {
        return BM_CHECK_ORDER;
    }
    hash_order(order_hash, birth);
    const uint8_t *root = find_open_root(port, image, order.issuer, order_hash, &status);
    if (root == NULL && mode == BIRTH && status == BM_CHECK_ROOT) {
        /* Before there is a root in flash, the anchor that is given. */
        status = BM_CHECK_ORDER_ISSUER;
        root = bm_equal(order.issuer, birth->anchor, BM_ROOT_NAME_SIZE) ? birth->anchor : NULL;
    }
    if (root == NULL) {
        return status;
    }
    status = signed_by(port, root + AT_KEY, &order, BM_CHECK_ORDER_SIGNATURE);
    if (status != BM_OK) {
        return status;
    }
    if (!product_allowed(image, mode, order.product)) {
        return BM_CHECK_PRODUCT;
    }
    if (bm_c509_unit(&unit, birth->unit, birth->unit_size) != BM_OK) {
        return BM_CHECK_UNIT;
    }
    if (!bm_equal(unit.issuer, order.subject, BM_ORDER_NAME_SIZE)) {
        return BM_CHECK_UNIT_ISSUER;
    }
    if (!serial_allowed(&order, mode, &unit)) {
        return BM_CHECK_SERIAL;
    }
    if (mode == BIRTH && !same_key(unit.key, birth->key)) {
        return BM_CHECK_KEY;
    }
    int listed = find_listed(port, &unit);
    if (listed != BM_OK && listed != BM_CHECK_HELD) {
        return listed;
    }
    status = signed_by(port, key, &unit, BM_CHECK_UNIT_SIGNATURE);
    if (status != BM_OK || mode == BIRTH) {
        return status;
    }
    return bm_p256_recover(key, unit.key) == BM_OK ? listed : BM_CHECK_UNIT;
}

int bm_trust(const struct bm_port *port, const struct bm_image *image, const struct bm_birth *birth)
{
    uint8_t key[BM_KEY_SIZE];
    uint8_t order_hash[BM_ORDER_HASH_SIZE];

    bm_sha256(key, birth->anchor, BM_ANCHOR_SIZE);
    if (!bm_equal(key, image->anchor_hash, BM_HASH_SIZE) || !bm_root_name_allowed(birth->anchor) ||
        bm_p256_check(birth->anchor + AT_KEY) != BM_OK) {
        return BM_CHECK_ANCHOR;
    }
    return judge(port, image, BIRTH, birth, key, order_hash);
}

int bm_trust_peer(const struct bm_port *port, const struct bm_image *image, int mode, const uint8_t *id, size_t id_size,
                  struct bm_peer *peer, uint8_t order_hash[BM_ORDER_HASH_SIZE])
{
    static const uint8_t head[] = {0xa1, 0x18, 0x19, 0x82}; /* {25 (c5c: COSE_C509): [ */
    struct bm_birth birth;
    struct bm_reader r;
    int status = BM_CHECK_ID;

    bm_read_start(&r, id, id_size);
    bm_read_exactly(&r, head, sizeof head);
    birth.unit_size = bm_read(&r, BM_BYTES);
    if (birth.unit_size > BM_UNIT_CERTIFICATE_MAX) {
        return BM_CHECK_UNIT;
    }
    /*@ split birth.unit_size; */
    birth.unit = bm_read_raw(&r, birth.unit_size);
    birth.order_size = bm_read(&r, BM_BYTES);
    birth.order = bm_read_raw(&r, birth.order_size);
    if (bm_read_end(&r) == BM_OK) {
        status = judge(port, image, mode, &birth, peer->key, order_hash);
    }
    peer->cred = birth.unit;
    peer->cred_size = birth.unit_size;
    return status;
}

int bm_trust_pinned(const struct bm_port *port, const uint8_t order_hash[BM_ORDER_HASH_SIZE], const uint8_t *unit,
                    size_t unit_size, uint8_t key[BM_KEY_SIZE])
{
    struct bm_certificate c;
    int check;

    if (bm_c509_unit(&c, unit, unit_size) != BM_OK) {
        return BM_CHECK_UNIT;
    }
    if (find_open_root(port, NULL, c.issuer, order_hash, &check) == NULL) {
        return check;
    }
    check = find_listed(port, &c);
    return check != BM_CHECK_REVOKED && key != NULL && bm_p256_recover(key, c.key) != BM_OK ? BM_CHECK_UNIT : check;
}

/* What a root signs */

void bm_trust_version(const struct bm_port *port, struct bm_trust_version *version)
{
    struct bm_record r;
    size_t size;

    bm_wipe(version, sizeof *version);
    const uint8_t *root = find_root(port, NULL, 0, &r);
    const uint8_t *list = find_list(port, &size);
    if (root != NULL) {
        version->epoch = root[AT_EPOCH];
    }
    if (list != NULL && size >= LIST_HEAD_SIZE) {
        bm_copy(version->list, list + AT_EPOCH, sizeof version->list);
    }
}

int bm_trust_link(const struct bm_port *port, const uint8_t *link, size_t size)
{
    uint8_t digest[BM_HASH_SIZE];
    struct bm_record r;
    size_t payload_size;
    const uint8_t *payload = open_object(link, size, &payload_size);

    if (payload == NULL || payload_size < BM_ANCHOR_SIZE ||
        payload_size > BM_ANCHOR_SIZE + ORDERS_MAX * BM_ORDER_HASH_SIZE || !bm_root_name_allowed(payload)) {
        return BM_ERR_MALFORMED;
    }
    for (size_t at = BM_ANCHOR_SIZE; at < payload_size; at += BM_ORDER_HASH_SIZE) {
        const uint8_t *order = payload + at;
        if (at + BM_ORDER_HASH_SIZE > payload_size ||
            (at > BM_ANCHOR_SIZE && bm_compare(order - BM_ORDER_HASH_SIZE, order, BM_ORDER_HASH_SIZE) >= 0)) {
            return BM_ERR_MALFORMED;
        }
    }
    const uint8_t *root = find_root(port, NULL, payload[AT_EPOCH], &r);
    if (root != NULL) {
        return r.size == size && bm_equal(r.payload, link, size) ? BM_OK : BM_ERR_AUTH;
    }
    root = find_root(port, NULL, 0, &r);
    bm_sha256(digest, payload + AT_KEY, BM_KEY_SIZE);
    if (root == NULL || payload[0] != root[0] || payload[AT_EPOCH] != root[AT_EPOCH] + 1 ||
        !bm_equal(digest, root + AT_NEXT, BM_HASH_SIZE) || bm_p256_check(payload + AT_KEY) != BM_OK) {
        return BM_ERR_AUTH;
    }
    int status = verify_object(port, payload + AT_KEY, link, size, link_aad);
    return status == BM_OK ? bm_flash_append(port, BM_PAGE_TRUST, BM_RECORD_LINK, link, size) : status;
}

/* Verify an object that was opened, of the newest root, which its payload names first. */
static int verify_newest(const struct bm_port *port, const uint8_t *payload, const uint8_t *object, size_t size,
                         const uint8_t *aad)
{
    struct bm_record r;
    const uint8_t *root = find_root(port, NULL, 0, &r);

    if (root == NULL || !bm_equal(payload, root, BM_ROOT_NAME_SIZE)) {
        return BM_ERR_AUTH;
    }
    return verify_object(port, root + AT_KEY, object, size, aad);
}

int bm_trust_list(const struct bm_port *port, const uint8_t *list, size_t size)
{
    size_t payload_size;
    const uint8_t *payload = open_object(list, size, &payload_size);

    if (payload == NULL || size > BM_STATUS_LIST_MAX || scan(payload, payload_size, payload, payload) == BM_ERR_MALFORMED) {
        return BM_ERR_MALFORMED;
    }
    const uint8_t *before = find_list(port, &payload_size);
    if (before != NULL && bm_compare(payload + AT_EPOCH, before + AT_EPOCH, LIST_AT_PREFIX - AT_EPOCH) <= 0) {
        return BM_ERR_STATE;
    }
    int status = verify_newest(port, payload, list, size, list_aad);
    return status == BM_OK ? bm_flash_replace(port, BM_RECORD_LIST, list, size) : status;
}

int bm_trust_release(const struct bm_port *port, const uint8_t serial[BM_UNIT_NAME_SIZE], uint32_t generation,
                     const uint8_t *release, size_t size)
{
    size_t payload_size;
    const uint8_t *payload = open_object(release, size, &payload_size);

    if (payload == NULL || payload_size != RELEASE_SIZE) {
        return BM_ERR_MALFORMED;
    }
    if (!bm_equal(payload + BM_ROOT_NAME_SIZE, serial, BM_UNIT_NAME_SIZE) ||
        bm_get(payload + RELEASE_AT_GENERATION, 4) != generation) {
        return BM_ERR_AUTH;
    }
    return verify_newest(port, payload, release, size, release_aad);
}

const uint8_t *bm_trust_stored(const struct bm_port *port, unsigned epoch, size_t *size)
{
    struct bm_record r;
    int found = epoch > 0 ? find_root(port, NULL, epoch, &r) != NULL && r.kind == BM_RECORD_LINK
                          : bm_flash_state(port, BM_RECORD_LIST, &r);

    *size = found ? r.size : 0;
    return found ? r.payload : NULL;
}
