/* Who a unit's peer is: records in the two state pages (docs/formats.md, "In the unit"). A change is one appended record
 * with the next generation; when its page is full the record goes to the other page and the full one is erased, so
 * at every moment one page holds the newest record. */
#ifndef BM_PAIRING_H
#define BM_PAIRING_H

#include "birthmark.h"

/* The generation of the newest record. BM_OK; BM_ERR_STATE if neither page has a whole record, which is no open pairing
 * but a fault in a sealed unit; BM_ERR_PORT. *generation is 0 after an error. */
BM_MUST_CHECK int bm_pairing_generation(const struct bm_port *port, uint32_t *generation);
/* Write open(generation) and read it back. BM_OK or BM_ERR_PORT. */
BM_MUST_CHECK int bm_pairing_open(const struct bm_port *port, uint32_t generation);

#endif
