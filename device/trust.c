#include "trust.h"

#include "flash.h"
#include "internal.h"

enum {
    AT_EPOCH = 1, /* in an anchor, and so in a link's payload and in every name */
    AT_KEY = BM_ROOT_NAME_SIZE,
    AT_NEXT = AT_KEY + BM_KEY_SIZE,
    AT_ORDERS = BM_ANCHOR_SIZE, /* in a link's payload */
    ORDERS_MAX = 32,
    BIRTH = 2, /* beside enum bm_trust_mode */
    LIST_AT_PREFIX = 6, /* behind name and number: its size; it stands behind the counts */
    LIST_AT_ORDERS = 7,
    LIST_AT_RANGES = 8,
    LIST_HEAD_SIZE = 9,
    LIST_ORDER_SIZE = 3,
    RELEASE_SIZE = BM_ROOT_NAME_SIZE + BM_UNIT_NAME_SIZE + 4,
    COSE_HEAD_SIZE = 6,                    /* array, protected header, unprotected header */
    COSE_TAIL_SIZE = 2 + BM_SIGNATURE_SIZE /* the signature with its head */
};

/* BM_OK, BM_ERR_AUTH or BM_ERR_PORT. */
static int verify(const struct bm_port *port, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                  const uint8_t signature[BM_SIGNATURE_SIZE])
{
    int status = port->verify(port->user, key, digest, signature);

    return status == BM_OK || status == BM_ERR_AUTH ? status : BM_ERR_PORT;
}

/* Root-signed objects: COSE_Sign1 (RFC 9052, 4.2) in one encoding. */

struct object {
    const uint8_t *bytes;
    size_t size;
    const uint8_t *payload;
    size_t payload_size;
};

static int read_object(struct object *o, const uint8_t *bytes, size_t size)
{
    static const uint8_t head[COSE_HEAD_SIZE] = {0x84, 0x43, 0xA1, 0x01, 0x26, 0xA0}; /* {1: -7}, ES256; {} */
    struct bm_reader r;

    o->bytes = bytes;
    o->size = size;
    bm_read_start(&r, bytes, size);
    const uint8_t *begin = bm_read_raw(&r, COSE_HEAD_SIZE);
    o->payload_size = bm_read(&r, BM_BYTES);
    o->payload = bm_read_raw(&r, o->payload_size);
    const uint8_t *signature = bm_read_bytes(&r, BM_SIGNATURE_SIZE);
    return bm_read_end(&r) == BM_OK && bm_equal(begin, head, COSE_HEAD_SIZE) && bm_signature_allowed(signature)
               ? BM_OK
               : BM_ERR_MALFORMED;
}

/* Verify an object's signature over its Sig_structure (RFC 9052, 4.4). aad is external_aad with its head. */
static int verify_object(const struct bm_port *port, const uint8_t key[BM_KEY_SIZE], const struct object *o, const char *aad,
                         size_t aad_size)
{
    static const uint8_t context[] = {0x84, 0x6A, 'S', 'i', 'g', 'n', 'a', 't', 'u', 'r', 'e', '1'};
    size_t signature_at = o->size - BM_SIGNATURE_SIZE;
    uint8_t digest[BM_HASH_SIZE];
    struct bm_sha256 h;

    bm_sha256_init(&h);
    bm_sha256_update(&h, context, sizeof context);
    bm_sha256_update(&h, o->bytes + 1, COSE_HEAD_SIZE - 2); /* the protected header */
    bm_sha256_update(&h, (const uint8_t *)aad, aad_size);
    bm_sha256_update(&h, o->bytes + COSE_HEAD_SIZE, o->size - COSE_HEAD_SIZE - COSE_TAIL_SIZE); /* the payload */
    bm_sha256_final(&h, digest);
    return verify(port, key, digest, o->bytes + signature_at);
}

/* BM_OK if the record is these bytes, BM_ERR_AUTH if not, or BM_ERR_PORT. */
static int same(const struct bm_record *r, const uint8_t *bytes, size_t size)
{
    uint8_t byte;

    for (uint32_t i = 0; i < size; i++) {
        if (bm_flash_read(r, i, &byte, 1) != BM_OK) {
            return BM_ERR_PORT;
        }
        if (r->size != size || byte != bytes[i]) {
            return BM_ERR_AUTH;
        }
    }
    return BM_OK;
}

/* Where the payload begins in an object of this size. */
static uint32_t payload_at(size_t size)
{
    size_t payload_and_head = size - COSE_HEAD_SIZE - COSE_TAIL_SIZE;

    return COSE_HEAD_SIZE + (payload_and_head < 1 + 24 ? 1 : payload_and_head < 2 + 256 ? 2 : 3);
}

/* 1 if these are whole big-endian numbers of so many bytes, each above the one before it, else 0. */
static int ascending(const uint8_t *numbers, size_t size, size_t width)
{
    size_t at = 0;

    for (; size - at >= width; at += width) {
        size_t i = 0;
        while (at > 0 && i < width && numbers[at - width + i] == numbers[at + i]) {
            i++;
        }
        if (at > 0 && (i == width || numbers[at - width + i] > numbers[at + i])) {
            return 0;
        }
    }
    return at == size;
}

/* Roots: the last anchor in the trust page, and the links behind it, whose payloads begin as an anchor does. */

/* Find the root of this epoch, or the newest for epoch 0; r is then where it lies, or for the newest the page's end. Without an
 * image the anchor may be that of another one. BM_OK, BM_ERR_STATE or BM_ERR_PORT. */
static int find_root(const struct bm_port *port, const struct bm_image *image, unsigned epoch, struct bm_record *r,
                     uint8_t root[BM_ANCHOR_SIZE])
{
    uint8_t digest[BM_HASH_SIZE];

    int status = bm_flash_last(port, BM_PAGE_TRUST, BM_RECORD_ANCHOR, r);
    int none = status;
    while (status == BM_OK && (status = bm_flash_next(r)) == BM_OK) {
        int is_link = r->kind == BM_RECORD_LINK;
        if (!is_link && r->kind != BM_RECORD_ANCHOR) {
            continue;
        }
        status = bm_flash_read(r, is_link ? payload_at(r->size) : 0, root, BM_ANCHOR_SIZE);
        if (status == BM_OK && !is_link && image != NULL) {
            bm_sha256(digest, root, BM_ANCHOR_SIZE);
            if (!bm_equal(digest, image->anchor_hash, BM_HASH_SIZE)) {
                return BM_ERR_STATE;
            }
        }
        if (status == BM_OK && root[AT_EPOCH] == epoch) {
            return BM_OK;
        }
    }
    return status == BM_ERR_STATE && epoch == 0 ? none : status;
}

/* The root that signs an order of this name, if it is known and has not closed the order out: BM_OK, BM_CHECK_ROOT,
 * BM_CHECK_CLOSED or BM_ERR_PORT. */
static int find_open_root(const struct bm_port *port, const struct bm_image *image, const uint8_t *name,
                          const uint8_t order_hash[BM_ORDER_HASH_SIZE], uint8_t root[BM_ANCHOR_SIZE])
{
    uint8_t listed[BM_ORDER_HASH_SIZE];
    struct bm_record r;

    int status = find_root(port, image, name[AT_EPOCH], &r, root);
    if (status == BM_ERR_STATE || (status == BM_OK && !bm_equal(root, name, BM_ROOT_NAME_SIZE))) {
        return BM_CHECK_ROOT;
    }
    while (status == BM_OK && (status = bm_flash_next(&r)) == BM_OK && r.kind != BM_RECORD_LINK) {
    }
    if (status != BM_OK) {
        return status == BM_ERR_STATE ? BM_OK : status;
    }
    for (uint32_t at = payload_at(r.size) + AT_ORDERS; at < (uint32_t)r.size - COSE_TAIL_SIZE; at += BM_ORDER_HASH_SIZE) {
        if (bm_flash_read(&r, at, listed, BM_ORDER_HASH_SIZE) != BM_OK) {
            return BM_ERR_PORT;
        }
        if (bm_equal(listed, order_hash, BM_ORDER_HASH_SIZE)) {
            return BM_OK;
        }
    }
    return BM_CHECK_CLOSED;
}

/* What the status list says of a unit: BM_OK, BM_CHECK_REVOKED, BM_CHECK_HELD or BM_ERR_PORT. */
static int find_listed(const struct bm_port *port, const struct bm_certificate *unit)
{
    uint8_t head[LIST_HEAD_SIZE + BM_UNIT_NAME_SIZE];
    uint8_t entry[2 * BM_UNIT_NAME_SIZE];
    struct bm_record r;
    int found = BM_OK;

    int status = bm_flash_state(port, BM_RECORD_LIST, &r);
    if (status == BM_OK) {
        status = bm_flash_read(&r, payload_at(r.size), head, sizeof head);
    }
    if (status != BM_OK) {
        return status == BM_ERR_STATE ? BM_OK : status;
    }
    uint32_t prefix = head[LIST_AT_PREFIX];
    if (prefix >= BM_UNIT_NAME_SIZE) {
        return BM_ERR_PORT;
    }
    uint32_t at = payload_at(r.size) + LIST_HEAD_SIZE + prefix;
    uint32_t orders = head[LIST_AT_ORDERS];
    uint32_t ranges = orders + head[LIST_AT_RANGES];
    for (uint32_t i = 0; at < (uint32_t)r.size - COSE_TAIL_SIZE; i++) {
        uint32_t width = i < orders ? LIST_ORDER_SIZE : BM_UNIT_NAME_SIZE - prefix;
        uint32_t size = i >= orders && i < ranges ? 2 * width : width; /* a range's first and last, or one number */
        const uint8_t *name = i < orders ? unit->issuer + AT_EPOCH : unit->subject + prefix;
        if (bm_flash_read(&r, at, entry, size) != BM_OK) {
            return BM_ERR_PORT;
        }
        at += size;
        uint64_t number = bm_get(name, width);
        if (number < bm_get(entry, width) || number > bm_get(entry + size - width, width) ||
            (i >= orders && !bm_equal(head + LIST_HEAD_SIZE, unit->subject, prefix))) {
            continue;
        }
        if (i >= ranges) {
            return BM_CHECK_REVOKED;
        }
        found = BM_CHECK_HELD;
    }
    return found;
}

/* BM_OK, BM_ERR_PORT, or check when the certificate's signature is not key's. */
static int signed_by(const struct bm_port *port, const uint8_t key[BM_KEY_SIZE], const struct bm_certificate *c, int check)
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, c->signed_bytes, c->signed_size);
    int status = verify(port, key, digest, c->signature);
    return status == BM_ERR_AUTH ? check : status;
}

/* Judge an order by its root, which is in flash or, before the birth, the anchor that is given. */
static int judge_order(const struct bm_port *port, const struct bm_image *image, const struct bm_birth *birth,
                       const struct bm_certificate *order)
{
    uint8_t root[BM_ANCHOR_SIZE];
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, birth->order, birth->order_size);
    int status = find_open_root(port, image, order->issuer, digest, root);
    if (status == BM_CHECK_ROOT && birth->anchor != NULL) {
        if (!bm_equal(order->issuer, birth->anchor, BM_ROOT_NAME_SIZE)) {
            return BM_CHECK_ORDER_ISSUER;
        }
        bm_copy(root, birth->anchor, BM_ANCHOR_SIZE);
        status = BM_OK;
    }
    return status == BM_OK ? signed_by(port, root + AT_KEY, order, BM_CHECK_ORDER_SIGNATURE) : status;
}

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
    uint64_t serial = bm_get(unit->subject, BM_UNIT_NAME_SIZE);

    return (mode == BM_TRUST_STATION && serial == UINT64_MAX) ||
           (serial >= bm_get(order->first, BM_UNIT_NAME_SIZE) && serial <= bm_get(order->last, BM_UNIT_NAME_SIZE));
}

/* 1 if compressed is key. Both are points, so X and the parity of Y settle it and nothing is recovered. */
static int same_key(const uint8_t compressed[BM_COMPRESSED_SIZE], const uint8_t key[BM_KEY_SIZE])
{
    return (compressed[0] & 1) == (key[BM_KEY_SIZE - 1] & 1) && bm_equal(compressed + 1, key, BM_KEY_SIZE / 2);
}

/* Judge a birth, or a peer, which is one without anchor and key. key is working memory: the order's, then the peer's. */
static int judge(const struct bm_port *port, const struct bm_image *image, int mode, const struct bm_birth *birth,
                 uint8_t key[BM_KEY_SIZE])
{
    struct bm_certificate order;
    struct bm_certificate unit;

    if (bm_c509_order(&order, birth->order, birth->order_size) != BM_OK || bm_p256_recover(key, order.key) != BM_OK) {
        return BM_CHECK_ORDER;
    }
    int status = judge_order(port, image, birth, &order);
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
    uint8_t work[BM_KEY_SIZE];

    bm_sha256(work, birth->anchor, BM_ANCHOR_SIZE);
    if (!bm_equal(work, image->anchor_hash, BM_HASH_SIZE) || !bm_root_name_allowed(birth->anchor) ||
        bm_p256_check(birth->anchor + AT_KEY) != BM_OK) {
        return BM_CHECK_ANCHOR;
    }
    return judge(port, image, BIRTH, birth, work);
}

int bm_trust_peer(const struct bm_port *port, const struct bm_image *image, int mode, const uint8_t *id, size_t id_size,
                  struct bm_judged *peer)
{
    struct bm_birth birth;
    struct bm_reader r;

    bm_read_start(&r, id, id_size);
    bm_read_expect(&r, BM_MAP, 1);
    bm_read_expect(&r, BM_UINT, 25); /* c5c: COSE_C509 */
    bm_read_expect(&r, BM_ARRAY, 2);
    birth.unit_size = bm_read(&r, BM_BYTES);
    birth.unit = bm_read_raw(&r, birth.unit_size);
    birth.order_size = bm_read(&r, BM_BYTES);
    birth.order = bm_read_raw(&r, birth.order_size);
    birth.anchor = NULL;
    int status = bm_read_end(&r) == BM_OK ? judge(port, image, mode, &birth, peer->key) : BM_CHECK_ID;
    if (status != BM_OK && status != BM_CHECK_HELD) {
        bm_wipe(peer, sizeof *peer);
        return status;
    }
    peer->unit = birth.unit;
    peer->order = birth.order;
    peer->unit_size = (uint8_t)birth.unit_size; /* no certificate of the profile has 256 bytes */
    peer->order_size = (uint8_t)birth.order_size;
    return status;
}

int bm_trust_pinned(const struct bm_port *port, const uint8_t order_hash[BM_ORDER_HASH_SIZE], const uint8_t *unit,
                    size_t unit_size, uint8_t key[BM_KEY_SIZE])
{
    uint8_t root[BM_ANCHOR_SIZE];
    struct bm_certificate c;

    if (bm_c509_unit(&c, unit, unit_size) != BM_OK) {
        return BM_CHECK_UNIT;
    }
    int status = find_open_root(port, NULL, c.issuer, order_hash, root);
    if (status == BM_OK) {
        status = find_listed(port, &c);
    }
    if (status != BM_OK && status != BM_CHECK_HELD) {
        return status;
    }
    return bm_p256_recover(key, c.key) == BM_OK ? status : BM_CHECK_UNIT;
}

/* What a root signs. */

int bm_trust_version(const struct bm_port *port, struct bm_trust_version *version)
{
    uint8_t root[BM_ANCHOR_SIZE];
    uint8_t name[LIST_AT_PREFIX];
    struct bm_record r;

    bm_wipe(version, sizeof *version);
    int status = find_root(port, NULL, 0, &r, root);
    if (status == BM_OK) {
        version->epoch = root[AT_EPOCH];
        status = bm_flash_state(port, BM_RECORD_LIST, &r);
    }
    if (status == BM_OK) {
        status = bm_flash_read(&r, payload_at(r.size), name, sizeof name);
        version->list_epoch = name[AT_EPOCH];
        version->list_number = (uint32_t)bm_get(name + BM_ROOT_NAME_SIZE, 4);
    }
    return status == BM_ERR_STATE ? BM_OK : status;
}

int bm_trust_link(const struct bm_port *port, const uint8_t *link, size_t size)
{
    static const char aad[] = "\x50" "birthmark link 1";
    uint8_t root[BM_ANCHOR_SIZE];
    uint8_t digest[BM_HASH_SIZE];
    struct object o;
    struct bm_record r;

    if (read_object(&o, link, size) != BM_OK || o.payload_size < AT_ORDERS) {
        return BM_ERR_MALFORMED;
    }
    size_t orders = o.payload_size - AT_ORDERS; /* bytes */
    if (orders > ORDERS_MAX * BM_ORDER_HASH_SIZE || !bm_root_name_allowed(o.payload) ||
        !ascending(o.payload + AT_ORDERS, orders, BM_ORDER_HASH_SIZE)) {
        return BM_ERR_MALFORMED;
    }
    int status = find_root(port, NULL, o.payload[AT_EPOCH], &r, root);
    if (status == BM_OK) {
        return same(&r, link, size);
    }
    if (status == BM_ERR_STATE) {
        status = find_root(port, NULL, 0, &r, root);
    }
    if (status != BM_OK) {
        return status == BM_ERR_STATE ? BM_ERR_AUTH : status;
    }
    bm_sha256(digest, o.payload + AT_KEY, BM_KEY_SIZE);
    if (o.payload[0] != root[0] || o.payload[AT_EPOCH] != root[AT_EPOCH] + 1 ||
        !bm_equal(digest, root + AT_NEXT, BM_HASH_SIZE) || bm_p256_check(o.payload + AT_KEY) != BM_OK) {
        return BM_ERR_AUTH;
    }
    status = verify_object(port, o.payload + AT_KEY, &o, aad, sizeof aad - 1);
    if (status != BM_OK) {
        return status;
    }
    r = (struct bm_record){.port = port, .page = BM_PAGE_TRUST, .kind = BM_RECORD_LINK, .size = (uint16_t)size};
    return bm_flash_append(&r, link);
}

/* Verify an object of the newest root, which its payload names first. */
static int verify_newest(const struct bm_port *port, const struct object *o, const char *aad, size_t aad_size)
{
    uint8_t root[BM_ANCHOR_SIZE];
    struct bm_record r;

    int status = find_root(port, NULL, 0, &r, root);
    if (status == BM_ERR_STATE || (status == BM_OK && !bm_equal(o->payload, root, BM_ROOT_NAME_SIZE))) {
        return BM_ERR_AUTH;
    }
    return status == BM_OK ? verify_object(port, root + AT_KEY, o, aad, aad_size) : status;
}

/* 1 if a status list's parts have their sizes and are in order, else 0. */
static int list_good(const struct object *o)
{
    const uint8_t *head = o->payload;

    if (o->payload_size < LIST_HEAD_SIZE || head[LIST_AT_PREFIX] >= BM_UNIT_NAME_SIZE) {
        return 0;
    }
    size_t width = BM_UNIT_NAME_SIZE - (size_t)head[LIST_AT_PREFIX];
    size_t orders = (size_t)head[LIST_AT_ORDERS] * LIST_ORDER_SIZE; /* bytes, as are these: */
    size_t ranges = (size_t)head[LIST_AT_RANGES] * 2 * width;
    size_t at = LIST_HEAD_SIZE + (size_t)head[LIST_AT_PREFIX];
    if (at + orders + ranges > o->payload_size) {
        return 0;
    }
    return ascending(head + at, orders, LIST_ORDER_SIZE) && ascending(head + at + orders, ranges, width) &&
           ascending(head + at + orders + ranges, o->payload_size - at - orders - ranges, width);
}

int bm_trust_list(const struct bm_port *port, const uint8_t *list, size_t size)
{
    static const char aad[] = "\x50" "birthmark list 1";
    struct bm_record r = {.port = port, .kind = BM_RECORD_LIST, .size = (uint16_t)size};
    struct bm_trust_version version;
    struct object o;

    if (size > BM_STATUS_LIST_MAX || read_object(&o, list, size) != BM_OK || !list_good(&o)) {
        return BM_ERR_MALFORMED;
    }
    int status = bm_trust_version(port, &version);
    if (status != BM_OK) {
        return status;
    }
    uint8_t epoch = o.payload[AT_EPOCH];
    if (epoch < version.list_epoch ||
        (epoch == version.list_epoch && bm_get(o.payload + BM_ROOT_NAME_SIZE, 4) <= version.list_number)) {
        return BM_ERR_STATE;
    }
    status = verify_newest(port, &o, aad, sizeof aad - 1);
    return status == BM_OK ? bm_flash_replace(&r, list) : status;
}

int bm_trust_release(const struct bm_port *port, const uint8_t serial[BM_UNIT_NAME_SIZE], uint32_t generation,
                     const uint8_t *release, size_t size)
{
    static const char aad[] = "\x53" "birthmark release 1";
    struct object o;

    if (read_object(&o, release, size) != BM_OK || o.payload_size != RELEASE_SIZE) {
        return BM_ERR_MALFORMED;
    }
    if (!bm_equal(o.payload + BM_ROOT_NAME_SIZE, serial, BM_UNIT_NAME_SIZE) ||
        bm_get(o.payload + BM_ROOT_NAME_SIZE + BM_UNIT_NAME_SIZE, 4) != generation) {
        return BM_ERR_AUTH;
    }
    return verify_newest(port, &o, aad, sizeof aad - 1);
}

int bm_trust_stored(const struct bm_port *port, unsigned epoch, uint8_t *out, size_t out_size, size_t *out_len)
{
    uint8_t root[BM_ANCHOR_SIZE];
    struct bm_record r;

    *out_len = 0;
    int status = epoch > 0 ? find_root(port, NULL, epoch, &r, root) : bm_flash_state(port, BM_RECORD_LIST, &r);
    if (status == BM_OK && r.kind == BM_RECORD_ANCHOR) {
        status = BM_ERR_STATE;
    }
    if (status == BM_OK && r.size > out_size) {
        status = BM_ERR_SPACE;
    }
    if (status == BM_OK) {
        status = bm_flash_read(&r, 0, out, r.size);
    }
    if (status == BM_OK) {
        *out_len = r.size;
    }
    return status;
}
