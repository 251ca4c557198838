#include "stubs.h"
#include "trust.h"

extern size_t stored_link; /* stub_flash.c */
extern size_t stored_state;

/* Of a link that closes no order, and of a list that names one unit. */
enum { LINK_SIZE = 172, LIST_SIZE = 90 };

static const struct bm_port port = {.verify = stub_verify, .page_size = 2048};

void take_release(void)
{
    uint8_t serial[BM_UNIT_NAME_SIZE];

    FOR_EACH_SIZE(size) {
        stored_link = size;
        any(serial, sizeof serial);
        if (bm_trust_release(&port, serial, 7, INPUT(size), size) == BM_OK) {
            ACCEPTED();
        }
    }
}

void take_link(void)
{
    FOR_EACH_SIZE(size) {
        stored_link = size;
        if (bm_trust_link(&port, INPUT(size), size) == BM_OK) {
            ACCEPTED();
        }
    }
}

void take_list(void)
{
    FOR_EACH_SIZE(size) {
        stored_link = BM_ANCHOR_SIZE;
        stored_state = size;
        if (bm_trust_list(&port, INPUT(size), size) == BM_OK) {
            ACCEPTED();
        }
    }
}

void take_pinned(void)
{
    static uint8_t order_hash[BM_ORDER_HASH_SIZE];
    uint8_t key[BM_KEY_SIZE];

    FOR_EACH_SIZE(size) {
        stored_link = LINK_SIZE;
        stored_state = LIST_SIZE;
        any(order_hash, sizeof order_hash);
        if (bm_trust_pinned(&port, order_hash, INPUT(size), size, Frama_C_interval(0, 1) ? key : NULL) == BM_OK) {
            ACCEPTED();
        }
    }
}

void take_id(void)
{
    static struct bm_image image;
    uint8_t order_hash[BM_ORDER_HASH_SIZE];
    struct bm_peer peer;

    any(&image, sizeof image);
    image.peer_count = (uint8_t)Frama_C_interval(0, BM_PEERS_MAX);
    FOR_EACH_SIZE(size) {
        stored_link = BM_ANCHOR_SIZE;
        stored_state = LIST_SIZE;
        int mode = Frama_C_interval(BM_TRUST_UNIT, BM_TRUST_STATION);
        int status = bm_trust_peer(&port, &image, mode, INPUT(size), size, &peer, order_hash);
        if (status == BM_OK || status == BM_CHECK_HELD) {
            /*@ assert peer.cred_size <= BM_UNIT_CERTIFICATE_MAX; */
            use(peer.cred, peer.cred_size);
            ACCEPTED();
        }
    }
}

/* Both certificates have the size: c509 alone looks at more of them. */
void take_birth(void)
{
    static struct bm_image image;
    static uint8_t anchor[BM_ANCHOR_SIZE];
    static uint8_t key[BM_KEY_SIZE];

    any(&image, sizeof image);
    image.peer_count = (uint8_t)Frama_C_interval(0, BM_PEERS_MAX);
    stored_link = BM_ANCHOR_SIZE;
    stored_state = LIST_SIZE;
    FOR_EACH_SIZE(size) {
        struct bm_birth birth = {
            .anchor = anchor, .order = INPUT(size), .order_size = size, .unit = INPUT(size), .unit_size = size, .key = key,
        };
        any(anchor, sizeof anchor);
        any(key, sizeof key);
        if (bm_trust(&port, &image, &birth) == BM_OK) {
            ACCEPTED();
        }
    }
}

/* Roots of any size in flash: what reads them, with one input of each kind. */
void roots(void)
{
    enum { RELEASE_SIZE = 87 };
    static uint8_t bytes[LINK_SIZE];
    static uint8_t serial[BM_UNIT_NAME_SIZE];
    static uint8_t order_hash[BM_ORDER_HASH_SIZE];

    stored_state = LIST_SIZE;
    FOR_EACH_SIZE(size) {
        struct bm_trust_version version;
        const uint8_t *found;
        size_t found_size;
        int status = BM_ERR_STATE;
        stored_link = size;
        any(bytes, sizeof bytes);
        any(serial, sizeof serial);
        any(order_hash, sizeof order_hash);
        switch (Frama_C_interval(0, 5)) {
        case 0:
            status = bm_trust_link(&port, bytes, LINK_SIZE);
            break;
        case 1:
            status = bm_trust_list(&port, bytes + LINK_SIZE - LIST_SIZE, LIST_SIZE);
            break;
        case 2:
            status = bm_trust_release(&port, serial, 7, bytes + LINK_SIZE - RELEASE_SIZE, RELEASE_SIZE);
            break;
        case 3:
            status = bm_trust_pinned(&port, order_hash, bytes, BM_UNIT_CERTIFICATE_MAX, NULL);
            break;
        case 4:
            bm_trust_version(&port, &version);
            break;
        default:
            found = bm_trust_stored(&port, (unsigned)Frama_C_interval(0, 255), &found_size);
            if (found != NULL) {
                use(found, found_size);
            }
        }
        if (status == BM_OK) {
            ACCEPTED();
        }
    }
}

/* A status list of any size in flash, a paired unit that is looked up in it, and the list that comes after it. */
void listed(void)
{
    static uint8_t next[LIST_SIZE];
    static uint8_t unit[BM_UNIT_CERTIFICATE_MAX];
    static uint8_t order_hash[BM_ORDER_HASH_SIZE];

    stored_link = BM_ANCHOR_SIZE;
    FOR_EACH_SIZE(size) {
        struct bm_trust_version version;
        const uint8_t *found;
        size_t found_size;
        stored_state = size;
        any(next, sizeof next);
        any(unit, sizeof unit);
        any(order_hash, sizeof order_hash);
        if (bm_trust_pinned(&port, order_hash, unit, sizeof unit, NULL) == BM_OK) {
            ACCEPTED();
        }
        if (bm_trust_list(&port, next, LIST_SIZE) == BM_OK) {
            ACCEPTED();
        }
        bm_trust_version(&port, &version);
        found = bm_trust_stored(&port, 0, &found_size);
        if (found != NULL) {
            use(found, found_size);
        }
    }
}
