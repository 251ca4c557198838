/* Records: what two units say to each other after a handshake (docs/peerlink.md, "Records").
 *
 * A record is header (generation 1, counter 3), ciphertext, tag (8): AES-CCM-16-64-128, the header as AAD. Each direction has
 * its key and IV from EDHOC_Exporter, 16 + 13 bytes, label 32768 from the Initiator and 32769 from the Responder, context the
 * generation as one byte. Nonce: IV xor counter, right-aligned. */
#ifndef BM_SESSION_H
#define BM_SESSION_H

#include "edhoc.h"

#define BM_RECORD_HEADER_SIZE 4
#define BM_RECORD_TAG_SIZE 8
#define BM_RECORD_OVERHEAD (BM_RECORD_HEADER_SIZE + BM_RECORD_TAG_SIZE)
#define BM_RECORD_TEXT_MAX 0xFFFFu /* bytes: CCM's length has two */

/* One block of the caller's memory; all fields are private. */
struct bm_session {
    uint8_t open; /* 0: closed, wiped */
    uint8_t role;
    uint8_t generation;
    uint16_t bad;      /* tags that did not hold in this generation */
    uint32_t sent;     /* counter of the next record to send */
    uint32_t received; /* counters below it are refused */
    uint8_t keys[2][BM_AES_KEY_SIZE + 13]; /* from the Initiator, from the Responder: key, IV */
    uint8_t prk_out[32];
};

/* sizeof(struct bm_session) as the library was built. */
size_t bm_session_size(void);
/* Take over a complete handshake, which is wiped. BM_OK or BM_ERR_STATE; either way the session that was in s is gone. */
BM_MUST_CHECK int bm_session_start(struct bm_session *s, struct bm_edhoc *e);
/* Make a record of text_size bytes, at most BM_RECORD_TEXT_MAX, that lie BM_RECORD_HEADER_SIZE bytes into record. BM_OK;
 * BM_ERR_SPACE if there are more, or record_size is below text_size + BM_RECORD_OVERHEAD; BM_ERR_STATE if the session is closed, or
 * used up: only a new handshake goes on; BM_ERR_PORT, after which the text is wiped and the counter has gone on. Near the end of
 * a generation's counters the session moves on to the next one by itself. */
BM_MUST_CHECK int bm_session_seal(struct bm_session *s, const struct bm_port *port, uint8_t *record, size_t record_size,
                                  size_t text_size, size_t *record_len);
/* Open a record in place: *text_len bytes, BM_RECORD_HEADER_SIZE bytes into it. BM_OK; BM_ERR_AUTH for a record whose tag does
 * not hold, or that comes twice, out of order, or from another generation than this one and the next: it is dropped and
 * changes nothing but the count of bad tags, and the 2^16th of them in a generation closes the session; BM_ERR_MALFORMED if it
 * is too short or too long to be a record; BM_ERR_STATE; BM_ERR_PORT. */
BM_MUST_CHECK int bm_session_open(struct bm_session *s, const struct bm_port *port, uint8_t *record, size_t record_size,
                                  size_t *text_len);
/* Start the next generation now, for both directions: EDHOC_KeyUpdate with its number, one byte, as context. The peer follows with
 * the first record that it gets; what it sent before is refused from now on. It must have got one before the next update, as it
 * refuses a generation further on. BM_OK, or BM_ERR_STATE at generation 255. */
BM_MUST_CHECK int bm_session_update(struct bm_session *s);
/* Wipe; every later call returns BM_ERR_STATE. */
void bm_session_wipe(struct bm_session *s);

#endif
