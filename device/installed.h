/* What install leaves in a unit: the anchor in flash, the certificates in the chip's slot 8 (docs/formats.md, "In the
 * unit"). Calls return BM_OK or BM_ERR_PORT unless they say more; the anchor's are the flash's, the others the chip's. */
#ifndef BM_INSTALLED_H
#define BM_INSTALLED_H

#include "port_atecc608.h"

/* Write the anchor unless it is the newest already; either way it has been read back. */
BM_MUST_CHECK int bm_installed_write_anchor(const struct bm_port *port, const uint8_t anchor[BM_ANCHOR_SIZE]);
/* The anchor, BM_ANCHOR_SIZE bytes where they lie in flash; NULL if there is none. */
const uint8_t *bm_installed_anchor(const struct bm_port *port);

/* Write unit and order of a birth that bm_trust accepted, unless identity, as last loaded, has them already, and load what the slot
 * then holds: the birth's, or zeros after an error. The birth's bytes may not lie in identity. */
BM_MUST_CHECK int bm_installed_write_certificates(struct bm_atecc608 *chip, const struct bm_birth *birth,
                                                  struct bm_identity *identity);
/* Read the slot into identity. Its certificates have at most BM_UNIT_CERTIFICATE_MAX and BM_ORDER_CERTIFICATE_MAX bytes and
 * are worth what bm_trust says. All zeros after an error, and if the slot holds anything but an ID_CRED_x and zeros. */
BM_MUST_CHECK int bm_installed_load(struct bm_atecc608 *chip, struct bm_identity *identity);
/* The same from the bytes of an ID_CRED_x, for a unit that keeps it elsewhere. BM_OK or BM_ERR_MALFORMED: all zeros. */
BM_MUST_CHECK int bm_installed_parse(struct bm_identity *identity, const uint8_t *id, size_t size);

#endif
