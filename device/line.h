/* Frames on a serial line: COBS(payload, CRC) and a zero byte (docs/wire.md, "Frame"). */
#ifndef BM_LINE_H
#define BM_LINE_H

#include "birthmark.h"

#define BM_LINE_CRC_SIZE 2

/* A receiver undoes COBS byte by byte, so that the buffer holds no more than one frame's content. All fields are private. */
struct bm_line {
    uint8_t *buffer;
    size_t size;
    size_t len;
    uint8_t code; /* of the block that is being received */
    uint8_t left; /* its bytes to come */
    uint8_t lost; /* the frame does not fit */
};

/* buffer, size bytes, is the caller's and holds the payload and BM_LINE_CRC_SIZE bytes after it. */
void bm_line_start(struct bm_line *line, uint8_t *buffer, size_t size);
/* Take one byte. Returns 1 when it ends a good frame, whose payload is then in the buffer, *payload_len bytes, until
 * the next byte comes. Whatever is no good frame is dropped in silence. */
BM_MUST_CHECK int bm_line_receive(struct bm_line *line, uint8_t byte, size_t *payload_len);
/* Send a payload as one frame, in pieces of at most 254 bytes. The buffer has room for BM_LINE_CRC_SIZE bytes after it. */
void bm_line_send(void (*send)(void *user, const uint8_t *bytes, size_t size), void *user, uint8_t *payload,
                  size_t payload_size);

#endif
