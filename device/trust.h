/* What a unit believes: roots and the links between them, orders, units, the status list (docs/formats.md, "Trust").
 *
 * A link is the next anchor and the orders of the root before it. Trusted is only what leads back to the hash in the image:
 * the anchor by that hash, each link by the hash of its key in the anchor or link before it. */
#ifndef BM_TRUST_H
#define BM_TRUST_H

#include "edhoc.h"

#define BM_ORDER_HASH_SIZE 12 /* first bytes of SHA-256 of an order's certificate */
#define BM_SIGNED_OBJECT_MAX 557 /* bytes of a link, list or release: of a link that closes 32 orders */
#define BM_STATUS_LIST_MAX 512

/* How far a unit's trust goes, as two units tell each other. What is greater is newer. */
struct bm_trust_version {
    uint8_t epoch;   /* of the newest root, 0: no anchor */
    uint8_t list[5]; /* epoch and number of the status list, big-endian; 0: none */
};

/* The checks of a peer that bm_trust has not: numbers go on from enum bm_check. */
enum bm_peer_check {
    BM_CHECK_ROOT = 11,    /* no root of this epoch is known: one of the two needs a link */
    BM_CHECK_CLOSED = 12,  /* its root is closed and this order is not among those that it signed */
    BM_CHECK_REVOKED = 13, /* the serial number is on the status list */
    BM_CHECK_HELD = 14,    /* the order or range is: no new pairing */
    BM_CHECK_SELF = 15,    /* the unit's own certificate, reflected: whoever knows it looks, not bm_trust_peer */
    BM_CHECK_ID = 16       /* ID_CRED_x is not {25: [unit, order]} */
};

enum bm_trust_mode {
    BM_TRUST_UNIT = 0,   /* units only, as in the field */
    BM_TRUST_STATION = 1 /* before the seal: the station's certificate, serial FFFFFFFFFFFFFFFF, as well */
};

/* Judge ID_CRED_x = {25: [unit, order]} of a peer, by the roots in flash if the stored anchor is the image's. BM_OK;
 * BM_ERR_PORT; or what does not hold, which is positive. The order is that of bm_trust, with BM_CHECK_ROOT in the place of the
 * issuer, BM_CHECK_CLOSED behind it, BM_CHECK_REVOKED before the unit's signature. BM_CHECK_HELD is the last of all, and the
 * results are then good too: an old pairing goes on. A unit's certificate above BM_UNIT_CERTIFICATE_MAX bytes is BM_CHECK_UNIT
 * before all that. *peer gets the unit's certificate, where it lies in id, as CRED_x, and its key. Two signatures are verified
 * and two points recovered. */
BM_MUST_CHECK int bm_trust_peer(const struct bm_port *port, const struct bm_image *image, int mode, const uint8_t *id,
                                size_t id_size, struct bm_peer *peer, uint8_t order_hash[BM_ORDER_HASH_SIZE]);
/* Judge a unit certificate that was judged before, when its pairing was written: the order by the hash and name that were kept, the
 * unit by the status list, no signature. Fills in key unless it is NULL. BM_OK, BM_ERR_PORT or BM_CHECK_UNIT, _ROOT, _CLOSED, _REVOKED or, last of
 * all and with key filled in as above, _HELD: a unit that is not paired yet is judged so again before it is. */
BM_MUST_CHECK int bm_trust_pinned(const struct bm_port *port, const uint8_t order_hash[BM_ORDER_HASH_SIZE], const uint8_t *unit,
                                  size_t unit_size, uint8_t key[BM_KEY_SIZE]);

/* How far this unit's trust goes. */
void bm_trust_version(const struct bm_port *port, struct bm_trust_version *version);
/* Take one link: its epoch is the next, SHA-256 of its key is the hash that the newest root left, its signature is that key's,
 * in this order. It is in flash when the call returns BM_OK, also when it was there already. BM_ERR_MALFORMED; BM_ERR_AUTH, also
 * for another link to a known epoch and where there is no anchor; BM_ERR_SPACE; BM_ERR_PORT: the roots are those that were. */
BM_MUST_CHECK int bm_trust_link(const struct bm_port *port, const uint8_t *link, size_t size);
/* Take a status list: newer than the one before, signed by the newest root. As bm_trust_link; BM_ERR_STATE if it is not newer, as
 * it is when it comes again. */
BM_MUST_CHECK int bm_trust_list(const struct bm_port *port, const uint8_t *list, size_t size);
/* Check a release of this unit's pairing: signed by the newest root, for this serial number and generation. Writes nothing.
 * BM_OK, BM_ERR_MALFORMED, BM_ERR_AUTH or BM_ERR_PORT. */
BM_MUST_CHECK int bm_trust_release(const struct bm_port *port, const uint8_t serial[BM_UNIT_NAME_SIZE], uint32_t generation,
                                   const uint8_t *release, size_t size);
/* The stored link to this epoch, or the stored status list for epoch 0, as it came, to hand on: where it lies in flash, *size bytes;
 * NULL and 0 if there is none. */
const uint8_t *bm_trust_stored(const struct bm_port *port, unsigned epoch, size_t *size);

#endif
