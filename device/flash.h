/* Append-only records in the microcontroller's flash (docs/formats.md, "In the unit"). Power may fail at any program
 * unit: what was there before stays readable, and the record that was being written is skipped. */
#ifndef BM_FLASH_H
#define BM_FLASH_H

#include "birthmark.h"

enum bm_record {
    BM_RECORD_ANCHOR = 0x01,
    BM_RECORD_PAIRING_OPEN = 0x02
};

/* Read the newest whole record of this kind and payload size into payload. BM_OK; BM_ERR_STATE if the page has none,
 * and BM_ERR_PORT if the flash cannot be read: payload is then undefined. */
BM_MUST_CHECK int bm_flash_newest(const struct bm_port *port, unsigned page, enum bm_record kind, uint8_t *payload,
                                  size_t size);
/* Append a record and read it back. BM_OK; BM_ERR_SPACE if the page has no room, or if something in it makes the rest unusable;
 * BM_ERR_PORT if the flash failed or does not hold what was written. */
BM_MUST_CHECK int bm_flash_append(const struct bm_port *port, unsigned page, enum bm_record kind, const uint8_t *payload,
                                  size_t size);

#endif
