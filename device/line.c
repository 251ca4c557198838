#include "line.h"

#include "internal.h"

enum { BLOCK_MAX = 254, CODE_FULL = 0xFF }; /* COBS: a full block's code stands for no zero */

void bm_line_start(struct bm_line *line, uint8_t *buffer, size_t size)
{
    line->buffer = buffer;
    line->size = size;
    line->len = 0;
    line->code = CODE_FULL; /* no zero stands before the first block */
    line->left = 0;
    line->lost = 0;
}

static BM_NOINLINE void put(struct bm_line *line, uint8_t byte)
{
    if (line->len == line->size) {
        line->lost = 1;
        return;
    }
    line->buffer[line->len] = byte;
    line->len++;
}

/* The payload's size, or 0 if what was received is no good frame; a good one has a payload. */
static size_t good(const struct bm_line *line)
{
    if (line->lost || line->left > 0 || line->len <= BM_LINE_CRC_SIZE) {
        return 0;
    }
    size_t size = line->len - BM_LINE_CRC_SIZE;
    uint16_t crc = bm_crc16(0, line->buffer, size);
    return line->buffer[size] == (uint8_t)crc && line->buffer[size + 1] == crc >> 8 ? size : 0;
}

int bm_line_receive(struct bm_line *line, uint8_t byte, size_t *payload_len)
{
    *payload_len = 0;
    if (byte == 0) {
        *payload_len = good(line);
        bm_line_start(line, line->buffer, line->size);
        return *payload_len > 0;
    }
    if (line->left > 0) {
        line->left--;
        put(line, byte);
        return 0;
    }
    if (line->code != CODE_FULL) {
        put(line, 0);
    }
    line->code = byte;
    line->left = (uint8_t)(byte - 1);
    return 0;
}

void bm_line_send(void (*send)(void *user, const uint8_t *bytes, size_t size), void *user, uint8_t *payload,
                  size_t payload_size)
{
    static const uint8_t end = 0;
    uint16_t crc = bm_crc16(0, payload, payload_size);
    size_t size = payload_size + BM_LINE_CRC_SIZE;
    int more;

    payload[payload_size] = (uint8_t)crc;
    payload[payload_size + 1] = (uint8_t)(crc >> 8);
    do {
        size_t block = 0;
        while (block < BLOCK_MAX && block < size && payload[block] != 0) {
            block++;
        }
        uint8_t code = (uint8_t)(block + 1);
        send(user, &code, 1);
        send(user, payload, block);
        more = block < size;
        size_t taken = block + (more && code != CODE_FULL); /* with the zero that a code below FF stands for */
        payload += taken;
        size -= taken;
    } while (more);
    send(user, &end, 1);
}
