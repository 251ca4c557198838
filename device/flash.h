/* Append-only records in the microcontroller's flash (docs/formats.md, "In the unit"). Power may fail at any program
 * unit and while a page is erased: what was there before stays readable, and a record that was torn is skipped. Calls
 * return BM_OK or BM_ERR_PORT, the flash failed, unless they say more. */
#ifndef BM_FLASH_H
#define BM_FLASH_H

#include "birthmark.h"

enum bm_record_kind {
    BM_RECORD_ANCHOR = 1, /* in the trust page, as are links */
    BM_RECORD_PAIRING = 2,
    BM_RECORD_LIST = 3,
    BM_RECORD_LINK = 4,
    BM_RECORD_MARK = 5 /* its state page is complete */
};

/* A record, or where the search for the next one stands. */
struct bm_record {
    const struct bm_port *port;
    uint32_t at;   /* where it begins in its page, bytes */
    uint32_t room; /* bytes that it takes there */
    uint16_t size; /* bytes of its payload */
    uint8_t page;
    uint8_t kind;
};

/* Before the first record of a page. */
void bm_flash_start(struct bm_record *r, const struct bm_port *port, unsigned page);
/* Go on to the next whole record of the page; BM_ERR_STATE if there is none. */
BM_MUST_CHECK int bm_flash_next(struct bm_record *r);
/* The last whole record of this kind in a page, which bm_flash_next gives once more; BM_ERR_STATE if there is none. */
BM_MUST_CHECK int bm_flash_last(const struct bm_port *port, unsigned page, enum bm_record_kind kind, struct bm_record *r);
/* Read a part of a record's payload; BM_ERR_PORT too if the record is shorter. */
BM_MUST_CHECK int bm_flash_read(const struct bm_record *r, uint32_t offset, uint8_t *out, size_t size);
/* Append a record, of which r says port, page, kind and size, and read it back. BM_ERR_SPACE if the page has no room, or if
 * something in it makes the rest unusable: nothing was written. After BM_ERR_PORT the record is whole or will be skipped. */
BM_MUST_CHECK int bm_flash_append(struct bm_record *r, const uint8_t *payload);

/* The two state pages hold one pairing and one status list, in the page that counts, each as its last record there. */

/* What counts of this kind, BM_RECORD_PAIRING or BM_RECORD_LIST; BM_ERR_STATE if there is none. */
BM_MUST_CHECK int bm_flash_state(const struct bm_port *port, enum bm_record_kind kind, struct bm_record *r);
/* Put a record, of which r says port, kind and size, in the place of what counts of its kind. BM_ERR_SPACE if an erased page
 * has too little room for what counts: nothing has changed. After BM_ERR_PORT either the old one counts or the new one. */
BM_MUST_CHECK int bm_flash_replace(struct bm_record *r, const uint8_t *payload);

#endif
