/* Who a unit's peer is: records in the two state pages (docs/formats.md, "In the unit"). A change is one appended record
 * with the next generation; when its page is full, what counts goes to the other page, a mark last of all, and the full one is
 * erased: at every moment one page says everything. */
#ifndef BM_PAIRING_H
#define BM_PAIRING_H

#include "trust.h"

enum bm_pairing_state {
    BM_PAIRING_FAULT = 0, /* no whole record: everybody is refused */
    BM_PAIRING_OPEN = 1,
    BM_PAIRING_PAIRED = 2
};

struct bm_pairing {
    uint8_t state;
    uint8_t unit_size; /* 0 unless paired */
    uint32_t generation;
    uint8_t order_hash[BM_ORDER_HASH_SIZE];
    uint8_t unit[BM_UNIT_CERTIFICATE_MAX]; /* the peer's certificate */
};

/* The newest record, with state BM_PAIRING_FAULT if there is none. */
void bm_pairing_read(const struct bm_port *port, struct bm_pairing *pairing);
/* Write a record and read it back; its generation must be one more than the newest, or 0 in a unit that has none. BM_OK;
 * BM_ERR_STATE for another generation; BM_ERR_PORT: either the record before it counts or this one. */
BM_MUST_CHECK int bm_pairing_write(const struct bm_port *port, const struct bm_pairing *pairing);

#endif
