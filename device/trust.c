#include "trust.h"

#include "flash.h"
#include "internal.h"

enum {
    BIRTH = 2,    /* beside enum bm_trust_mode */
    AT_EPOCH = 1, /* in an anchor, and so in a link's payload and in every name */
    AT_KEY = BM_ROOT_NAME_SIZE,
    AT_NEXT = AT_KEY + BM_KEY_SIZE,
    AT_ORDERS = BM_ANCHOR_SIZE, /* in a link's payload */
    ORDERS_MAX = 32,
    LIST_AT_PREFIX = 6, /* behind name and number: its size; it stands behind the counts */
    LIST_AT_ORDERS = 7,
    LIST_AT_RANGES = 8,
    LIST_HEAD_SIZE = 9,
    LIST_ORDER_SIZE = 3,
    RELEASE_SIZE = BM_ROOT_NAME_SIZE + BM_UNIT_NAME_SIZE + 4,
    COSE_HEAD_SIZE = 6,                    /* array, protected header, unprotected header */
    COSE_TAIL_SIZE = 2 + BM_SIGNATURE_SIZE /* the signature with its head */
};

/* What a call works with. */
struct work {
    const struct bm_port *port;
    const struct bm_image *image; /* whose anchor counts; NULL: any does */
    struct bm_record r;           /* where the root lies that was found */
    uint8_t root[BM_ANCHOR_SIZE]; /* and what it is */
};

/* Below, at or above 0 as one big-endian number is below, equal to or above another. */
static int compare(const uint8_t *a, const uint8_t *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) {
            return a[i] - b[i];
        }
    }
    return 0;
}

/* 1 if these are whole numbers of so many bytes, each above the one before it, else 0. */
static int ascending(const uint8_t *numbers, size_t size, size_t width)
{
    for (; size > width; size -= width, numbers += width) {
        if (compare(numbers, numbers + width, width) >= 0) {
            return 0;
        }
    }
    return size == 0 || size == width;
}

/* BM_OK, BM_ERR_PORT, or check if the signature is not key's. */
static int verify(const struct work *w, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                  const uint8_t signature[BM_SIGNATURE_SIZE])
{
    int status = w->port->verify(w->port->user, key, digest, signature);

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
    (void)bm_read_raw(&r, COSE_HEAD_SIZE);
    o->payload_size = bm_read(&r, BM_BYTES);
    o->payload = bm_read_raw(&r, o->payload_size);
    const uint8_t *signature = bm_read_bytes(&r, BM_SIGNATURE_SIZE);
    return bm_read_end(&r) == BM_OK && bm_equal(bytes, head, COSE_HEAD_SIZE) && bm_signature_allowed(signature)
               ? BM_OK
               : BM_ERR_MALFORMED;
}

/* external_aad of each kind, with its head. */
static const uint8_t link_aad[] = "\x50" "birthmark link 1";
static const uint8_t list_aad[] = "\x50" "birthmark list 1";
static const uint8_t release_aad[] = "\x53" "birthmark release 1";

/* Verify an object's signature over its Sig_structure (RFC 9052, 4.4): BM_OK, BM_ERR_AUTH or BM_ERR_PORT. */
static int verify_object(const struct work *w, const uint8_t key[BM_KEY_SIZE], const struct object *o, const uint8_t *aad)
{
    static const uint8_t context[] = {0x84, 0x6A, 'S', 'i', 'g', 'n', 'a', 't', 'u', 'r', 'e', '1'};
    uint8_t digest[BM_HASH_SIZE];
    struct bm_sha256 h;

    bm_sha256_init(&h);
    bm_sha256_update(&h, context, sizeof context);
    bm_sha256_update(&h, o->bytes + 1, COSE_HEAD_SIZE - 2); /* the protected header */
    bm_sha256_update(&h, aad, 1 + (aad[0] & 31u));
    bm_sha256_update(&h, o->bytes + COSE_HEAD_SIZE, o->size - COSE_HEAD_SIZE - COSE_TAIL_SIZE); /* the payload */
    bm_sha256_final(&h, digest);
    return verify(w, key, digest, o->bytes + o->size - BM_SIGNATURE_SIZE);
}

/* Where the payload begins in a stored object of this size: behind the head of a byte string, which has 1 to 3 bytes. */
static uint32_t payload_at(uint32_t size)
{
    size -= COSE_HEAD_SIZE + COSE_TAIL_SIZE;
    return COSE_HEAD_SIZE + (size < 1 + 24 ? 1 : size < 2 + 256 ? 2 : 3);
}

/* Roots: the anchor in the trust page, and the links behind it, whose payloads begin as an anchor does. */

/* Find the root of this epoch, or the newest for epoch 0. BM_OK, BM_ERR_STATE or BM_ERR_PORT. */
static int find_root(struct work *w, unsigned epoch)
{
    uint8_t digest[BM_HASH_SIZE];
    int status;

    w->root[AT_EPOCH] = 0;
    bm_flash_start(&w->r, w->port, BM_PAGE_TRUST);
    while ((status = bm_flash_next(&w->r)) == BM_OK) {
        int first = w->r.kind == BM_RECORD_ANCHOR;
        status = bm_flash_read(&w->r, first ? 0 : payload_at(w->r.size), w->root, BM_ANCHOR_SIZE);
        if (status != BM_OK) {
            return status;
        }
        bm_sha256(digest, w->root, BM_ANCHOR_SIZE);
        if (first && w->image != NULL && !bm_equal(digest, w->image->anchor_hash, BM_HASH_SIZE)) {
            return BM_ERR_STATE;
        }
        if (w->root[AT_EPOCH] == epoch) {
            return BM_OK;
        }
    }
    return status == BM_ERR_STATE && epoch == 0 && w->root[AT_EPOCH] != 0 ? BM_OK : status;
}

/* Find the root that signs an order of this name, if it is known and has not closed the order out: BM_OK, BM_CHECK_ROOT,
 * BM_CHECK_CLOSED or BM_ERR_PORT. */
static int find_open_root(struct work *w, const uint8_t *name, const uint8_t order_hash[BM_ORDER_HASH_SIZE])
{
    uint8_t listed[BM_ORDER_HASH_SIZE];

    int status = find_root(w, name[AT_EPOCH]);
    if (status == BM_ERR_STATE || (status == BM_OK && w->root[0] != name[0])) {
        return BM_CHECK_ROOT;
    }
    if (status == BM_OK) {
        status = bm_flash_next(&w->r); /* the link that closed it */
    }
    if (status != BM_OK) {
        return status == BM_ERR_STATE ? BM_OK : status;
    }
    uint32_t end = (uint32_t)w->r.size - COSE_TAIL_SIZE;
    for (uint32_t at = payload_at(w->r.size) + AT_ORDERS; at < end; at += BM_ORDER_HASH_SIZE) {
        if (bm_flash_read(&w->r, at, listed, BM_ORDER_HASH_SIZE) != BM_OK) {
            return BM_ERR_PORT;
        }
        if (bm_equal(listed, order_hash, BM_ORDER_HASH_SIZE)) {
            return BM_OK;
        }
    }
    return BM_CHECK_CLOSED;
}

/* Status list */

/* Find the list and read its head, with as many bytes behind it as a serial number has. BM_OK, BM_ERR_STATE or BM_ERR_PORT. */
static int find_list(const struct bm_port *port, struct bm_record *r, uint8_t head[LIST_HEAD_SIZE + BM_UNIT_NAME_SIZE])
{
    int status = bm_flash_state(port, BM_RECORD_LIST, r);

    return status == BM_OK ? bm_flash_read(r, payload_at(r->size), head, LIST_HEAD_SIZE + BM_UNIT_NAME_SIZE) : status;
}

/* What the status list says of a unit: BM_OK, BM_CHECK_REVOKED, BM_CHECK_HELD or BM_ERR_PORT. */
static int find_listed(const struct bm_port *port, const struct bm_certificate *unit)
{
    uint8_t head[LIST_HEAD_SIZE + BM_UNIT_NAME_SIZE];
    uint8_t entry[2 * BM_UNIT_NAME_SIZE]; /* one number, or a range's first and last */
    struct bm_record r;
    int found = BM_OK;

    int status = find_list(port, &r, head);
    if (status != BM_OK) {
        return status == BM_ERR_STATE ? BM_OK : status;
    }
    uint32_t prefix = head[LIST_AT_PREFIX];
    if (prefix >= BM_UNIT_NAME_SIZE) {
        return BM_ERR_PORT;
    }
    int under = bm_equal(head + LIST_HEAD_SIZE, unit->subject, prefix);
    uint32_t ranges = head[LIST_AT_ORDERS]; /* where they begin, and the single numbers */
    uint32_t singles = ranges + head[LIST_AT_RANGES];
    uint32_t at = payload_at(r.size) + LIST_HEAD_SIZE + prefix;
    for (uint32_t i = 0; at < (uint32_t)r.size - COSE_TAIL_SIZE; i++) {
        const uint8_t *name = unit->subject + prefix;
        uint32_t width = BM_UNIT_NAME_SIZE - prefix;
        uint32_t size = width;
        int match = under;
        if (i < ranges) {
            name = unit->issuer + AT_EPOCH;
            width = size = LIST_ORDER_SIZE;
            match = 1;
        } else if (i < singles) {
            size = 2 * width;
        }
        if (bm_flash_read(&r, at, entry, size) != BM_OK) {
            return BM_ERR_PORT;
        }
        at += size;
        if (match && compare(entry, name, width) <= 0 && compare(name, entry + size - width, width) <= 0) {
            if (i >= singles) {
                return BM_CHECK_REVOKED;
            }
            found = BM_CHECK_HELD;
        }
    }
    return found;
}

/* Births and peers */

/* BM_OK, BM_ERR_PORT, or check when the certificate's signature is not key's. */
static int signed_by(const struct work *w, const uint8_t key[BM_KEY_SIZE], const struct bm_certificate *c, int check)
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, c->signed_bytes, c->signed_size);
    int status = verify(w, key, digest, c->signature);
    return status == BM_ERR_AUTH ? check : status;
}

static int product_allowed(const struct bm_image *image, int mode, uint32_t product)
{
    int allowed = mode != BM_TRUST_UNIT && product == image->product;

    for (unsigned i = 0; mode != BIRTH && i < image->peer_count; i++) {
        allowed |= product == image->peers[i];
    }
    return allowed;
}

/* 1 if compressed is key. Both are points, so X and the parity of Y settle it and nothing is recovered. */
static int same_key(const uint8_t compressed[BM_COMPRESSED_SIZE], const uint8_t key[BM_KEY_SIZE])
{
    return (compressed[0] & 1) == (key[BM_KEY_SIZE - 1] & 1) && bm_equal(compressed + 1, key, BM_KEY_SIZE / 2);
}

/* Judge the certificates in j, of a peer or, with an anchor and a key, at a birth. j->key is the order's for a while, and then
 * the peer's. */
static int judge(struct work *w, int mode, const struct bm_birth *birth, struct bm_judged *j)
{
    struct bm_certificate order;
    struct bm_certificate unit;
    uint8_t digest[BM_HASH_SIZE];

    if (bm_c509_order(&order, j->order, j->order_size) != BM_OK || bm_p256_recover(j->key, order.key) != BM_OK) {
        return BM_CHECK_ORDER;
    }
    bm_sha256(digest, j->order, j->order_size);
    int status = find_open_root(w, order.issuer, digest);
    if (status == BM_CHECK_ROOT && mode == BIRTH) {
        /* Before there is a root in flash, the anchor that is given. */
        if (!bm_equal(order.issuer, birth->anchor, BM_ROOT_NAME_SIZE)) {
            return BM_CHECK_ORDER_ISSUER;
        }
        bm_copy(w->root, birth->anchor, BM_ANCHOR_SIZE);
        status = BM_OK;
    }
    if (status == BM_OK) {
        status = signed_by(w, w->root + AT_KEY, &order, BM_CHECK_ORDER_SIGNATURE);
    }
    if (status != BM_OK) {
        return status;
    }
    if (!product_allowed(w->image, mode, order.product)) {
        return BM_CHECK_PRODUCT;
    }
    if (bm_c509_unit(&unit, j->unit, j->unit_size) != BM_OK) {
        return BM_CHECK_UNIT;
    }
    if (!bm_equal(unit.issuer, order.subject, BM_ORDER_NAME_SIZE)) {
        return BM_CHECK_UNIT_ISSUER;
    }
    if ((compare(unit.subject, order.first, BM_UNIT_NAME_SIZE) < 0 || compare(unit.subject, order.last, BM_UNIT_NAME_SIZE) > 0) &&
        (mode != BM_TRUST_STATION || bm_get(unit.subject, BM_UNIT_NAME_SIZE) != UINT64_MAX)) {
        return BM_CHECK_SERIAL;
    }
    if (mode == BIRTH && !same_key(unit.key, birth->key)) {
        return BM_CHECK_KEY;
    }
    int listed = find_listed(w->port, &unit);
    if (listed != BM_OK && listed != BM_CHECK_HELD) {
        return listed;
    }
    status = signed_by(w, j->key, &unit, BM_CHECK_UNIT_SIGNATURE);
    if (status != BM_OK || mode == BIRTH) {
        return status;
    }
    return bm_p256_recover(j->key, unit.key) == BM_OK ? listed : BM_CHECK_UNIT;
}

int bm_trust(const struct bm_port *port, const struct bm_image *image, const struct bm_birth *birth)
{
    struct work w;
    struct bm_judged j;

    w.port = port;
    w.image = image;
    bm_sha256(j.key, birth->anchor, BM_ANCHOR_SIZE);
    if (!bm_equal(j.key, image->anchor_hash, BM_HASH_SIZE) || !bm_root_name_allowed(birth->anchor) ||
        bm_p256_check(birth->anchor + AT_KEY) != BM_OK) {
        return BM_CHECK_ANCHOR;
    }
    j.order = birth->order;
    j.order_size = birth->order_size;
    j.unit = birth->unit;
    j.unit_size = birth->unit_size;
    return judge(&w, BIRTH, birth, &j);
}

int bm_trust_peer(const struct bm_port *port, const struct bm_image *image, int mode, const uint8_t *id, size_t id_size,
                  struct bm_judged *peer)
{
    struct work w;
    struct bm_reader r;
    int status = BM_CHECK_ID;

    w.port = port;
    w.image = image;
    bm_read_start(&r, id, id_size);
    const uint8_t *head = bm_read_raw(&r, 4); /* {25: [2]} */
    peer->unit_size = bm_read(&r, BM_BYTES);
    peer->unit = bm_read_raw(&r, peer->unit_size);
    peer->order_size = bm_read(&r, BM_BYTES);
    peer->order = bm_read_raw(&r, peer->order_size);
    if (bm_read_end(&r) == BM_OK && bm_get(head, 4) == 0xA1181982) {
        status = judge(&w, mode, NULL, peer);
    }
    if (status != BM_OK && status != BM_CHECK_HELD) {
        bm_wipe(peer, sizeof *peer);
    }
    return status;
}

int bm_trust_pinned(const struct bm_port *port, const uint8_t order_hash[BM_ORDER_HASH_SIZE], const uint8_t *unit,
                    size_t unit_size, uint8_t key[BM_KEY_SIZE])
{
    struct work w;
    struct bm_certificate c;

    w.port = port;
    w.image = NULL;
    if (bm_c509_unit(&c, unit, unit_size) != BM_OK) {
        return BM_CHECK_UNIT;
    }
    int status = find_open_root(&w, c.issuer, order_hash);
    if (status == BM_OK) {
        status = find_listed(port, &c);
    }
    if ((status == BM_OK || status == BM_CHECK_HELD) && bm_p256_recover(key, c.key) != BM_OK) {
        status = BM_CHECK_UNIT;
    }
    return status;
}

/* What a root signs */

int bm_trust_version(const struct bm_port *port, struct bm_trust_version *version)
{
    struct work w;
    uint8_t head[LIST_HEAD_SIZE + BM_UNIT_NAME_SIZE];

    w.port = port;
    w.image = NULL;
    bm_wipe(version, sizeof *version);
    int status = find_root(&w, 0);
    if (status == BM_OK) {
        version->epoch = w.root[AT_EPOCH];
        status = find_list(port, &w.r, head);
    }
    if (status == BM_OK) {
        version->list_epoch = head[AT_EPOCH];
        version->list_number = (uint32_t)bm_get(head + BM_ROOT_NAME_SIZE, 4);
    }
    return status == BM_ERR_STATE ? BM_OK : status;
}

int bm_trust_link(const struct bm_port *port, const uint8_t *link, size_t size)
{
    struct work w;
    uint8_t digest[BM_HASH_SIZE];
    struct object o;

    w.port = port;
    w.image = NULL;
    if (read_object(&o, link, size) != BM_OK || o.payload_size < AT_ORDERS ||
        o.payload_size > AT_ORDERS + ORDERS_MAX * BM_ORDER_HASH_SIZE || !bm_root_name_allowed(o.payload) ||
        !ascending(o.payload + AT_ORDERS, o.payload_size - AT_ORDERS, BM_ORDER_HASH_SIZE)) {
        return BM_ERR_MALFORMED;
    }
    int status = find_root(&w, o.payload[AT_EPOCH]);
    if (status == BM_OK) {
        return bm_equal(o.payload, w.root, BM_ANCHOR_SIZE) ? BM_OK : BM_ERR_AUTH;
    }
    if (status == BM_ERR_STATE) {
        status = find_root(&w, 0);
    }
    if (status != BM_OK) {
        return status == BM_ERR_STATE ? BM_ERR_AUTH : status;
    }
    bm_sha256(digest, o.payload + AT_KEY, BM_KEY_SIZE);
    if (o.payload[0] != w.root[0] || o.payload[AT_EPOCH] != w.root[AT_EPOCH] + 1 ||
        !bm_equal(digest, w.root + AT_NEXT, BM_HASH_SIZE) || bm_p256_check(o.payload + AT_KEY) != BM_OK) {
        return BM_ERR_AUTH;
    }
    status = verify_object(&w, o.payload + AT_KEY, &o, link_aad);
    if (status != BM_OK) {
        return status;
    }
    w.r.kind = BM_RECORD_LINK;
    w.r.size = (uint16_t)size;
    return bm_flash_append(&w.r, link);
}

/* Verify an object of the newest root, which its payload names first. */
static int verify_newest(const struct bm_port *port, const struct object *o, const uint8_t *aad)
{
    struct work w;

    w.port = port;
    w.image = NULL;
    int status = find_root(&w, 0);
    if (status == BM_ERR_STATE || (status == BM_OK && !bm_equal(o->payload, w.root, BM_ROOT_NAME_SIZE))) {
        return BM_ERR_AUTH;
    }
    return status == BM_OK ? verify_object(&w, w.root + AT_KEY, o, aad) : status;
}

/* 1 if a status list's parts have their sizes and are in order, else 0. */
static int list_good(const struct object *o)
{
    const uint8_t *head = o->payload;

    if (o->payload_size < LIST_HEAD_SIZE || head[LIST_AT_PREFIX] >= BM_UNIT_NAME_SIZE) {
        return 0;
    }
    size_t at = LIST_HEAD_SIZE + (size_t)head[LIST_AT_PREFIX];
    size_t width = LIST_HEAD_SIZE + BM_UNIT_NAME_SIZE - at;
    size_t orders = (size_t)head[LIST_AT_ORDERS] * LIST_ORDER_SIZE; /* bytes, as are these: */
    size_t ranges = (size_t)head[LIST_AT_RANGES] * 2 * width;
    return at + orders + ranges <= o->payload_size && ascending(head + at, orders, LIST_ORDER_SIZE) &&
           ascending(head + at + orders, ranges, width) &&
           ascending(head + at + orders + ranges, o->payload_size - at - orders - ranges, width);
}

int bm_trust_list(const struct bm_port *port, const uint8_t *list, size_t size)
{
    uint8_t head[LIST_HEAD_SIZE + BM_UNIT_NAME_SIZE];
    struct bm_record r;
    struct object o;

    if (size > BM_STATUS_LIST_MAX || read_object(&o, list, size) != BM_OK || !list_good(&o)) {
        return BM_ERR_MALFORMED;
    }
    int status = find_list(port, &r, head);
    if (status == BM_OK && compare(o.payload + AT_EPOCH, head + AT_EPOCH, LIST_AT_PREFIX - AT_EPOCH) <= 0) {
        return BM_ERR_STATE;
    }
    if (status != BM_ERR_PORT) {
        status = verify_newest(port, &o, list_aad);
    }
    if (status != BM_OK) {
        return status;
    }
    r.port = port;
    r.kind = BM_RECORD_LIST;
    r.size = (uint16_t)size;
    return bm_flash_replace(&r, list);
}

int bm_trust_release(const struct bm_port *port, const uint8_t serial[BM_UNIT_NAME_SIZE], uint32_t generation,
                     const uint8_t *release, size_t size)
{
    struct object o;

    if (read_object(&o, release, size) != BM_OK || o.payload_size != RELEASE_SIZE) {
        return BM_ERR_MALFORMED;
    }
    if (!bm_equal(o.payload + BM_ROOT_NAME_SIZE, serial, BM_UNIT_NAME_SIZE) ||
        bm_get(o.payload + BM_ROOT_NAME_SIZE + BM_UNIT_NAME_SIZE, 4) != generation) {
        return BM_ERR_AUTH;
    }
    return verify_newest(port, &o, release_aad);
}

int bm_trust_stored(const struct bm_port *port, unsigned epoch, uint8_t *out, size_t out_size, size_t *out_len)
{
    struct work w;

    w.port = port;
    w.image = NULL;
    *out_len = 0;
    int status = epoch > 0 ? find_root(&w, epoch) : bm_flash_state(port, BM_RECORD_LIST, &w.r);
    if (status == BM_OK && epoch > 0 && w.r.kind == BM_RECORD_ANCHOR) {
        status = BM_ERR_STATE;
    }
    if (status == BM_OK && w.r.size > out_size) {
        status = BM_ERR_SPACE;
    }
    if (status == BM_OK) {
        status = bm_flash_read(&w.r, 0, out, w.r.size);
    }
    if (status == BM_OK) {
        *out_len = w.r.size;
    }
    return status;
}
