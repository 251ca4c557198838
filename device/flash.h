/* Append-only records in the microcontroller's flash (docs/formats.md, "In the unit"). Power may fail at any program
 * unit and while a page is erased: what was there before stays readable, and a record that was torn is skipped. */
#ifndef BM_FLASH_H
#define BM_FLASH_H

#include "birthmark.h"

enum bm_record_kind {
    BM_RECORD_ANCHOR = 1, /* in the trust page, as are links */
    BM_RECORD_PAIRING = 2,
    BM_RECORD_LIST = 3,
    BM_RECORD_LINK = 4,
    BM_RECORD_MARK = 5,  /* its state page is complete */
    BM_RECORD_IO_KEY = 6 /* of the chip, in the state pages where BM_CONFIG_IO_KEY is defined */
};

#define BM_IO_KEY_SIZE 32 /* bytes */

/* A record where it lies, until its page is erased, or where the search for the next one stands. */
struct bm_record {
    const struct bm_port *port;
    const uint8_t *payload;
    uint32_t end;  /* of what was looked at, bytes from the page's begin */
    uint16_t size; /* bytes of payload */
    uint8_t page;
    uint8_t kind;
};

/* Before the first record of a page. */
void bm_flash_start(struct bm_record *r, const struct bm_port *port, unsigned page);
/* Go on to the next whole record of the page; 0 if there is none. */
BM_MUST_CHECK int bm_flash_next(struct bm_record *r);
/* Append a record and read it back. BM_OK; BM_ERR_SPACE if the page has no room for it: nothing was written; BM_ERR_PORT: the record
 * is whole or will be skipped. */
BM_MUST_CHECK int bm_flash_append(const struct bm_port *port, unsigned page, enum bm_record_kind kind, const uint8_t *payload,
                                  size_t size);

/* The two state pages hold one pairing, one status list and the key of a protected chip, in the page that counts, each as its last
 * record there. */

/* What counts of this kind, BM_RECORD_PAIRING, BM_RECORD_LIST or BM_RECORD_IO_KEY; 0 if there is none. */
BM_MUST_CHECK int bm_flash_state(const struct bm_port *port, enum bm_record_kind kind, struct bm_record *r);
/* Put a record in the place of what counts of its kind. A new key may end what the other kinds had: its chip is nobody yet. BM_OK; BM_ERR_SPACE if an erased page has too little room for what
 * counts: nothing has changed; BM_ERR_PORT: either the old one counts or the new one. */
BM_MUST_CHECK int bm_flash_replace(const struct bm_port *port, enum bm_record_kind kind, const uint8_t *payload, size_t size);

#endif
