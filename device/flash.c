#include "flash.h"

#include "internal.h"

enum { HEAD_SIZE = 4, CRC_SIZE = 2, UNIT = BM_FLASH_UNIT, FREE = 0xFF };

/* A walk over the records of one page. */
struct walk {
    const struct bm_port *port;
    unsigned page;
    uint32_t at; /* where the record or the free space begins */
    uint8_t kind;
    uint32_t size; /* bytes of payload */
};

/* Bytes that a record takes in its page. */
static uint32_t room_for(uint32_t payload_size)
{
    return (HEAD_SIZE + payload_size + CRC_SIZE + UNIT - 1) / UNIT * UNIT;
}

static int read(const struct walk *w, uint32_t offset, uint8_t *out, size_t size)
{
    return w->port->flash_read(w->port->user, w->page, w->at + offset, out, size) == BM_OK ? BM_OK : BM_ERR_PORT;
}

/* Read the head at w->at. BM_ERR_STATE at the free space, at the page's end and at a head that no append wrote whole:
 * where its record ends is unknown, so the walk does too. */
static int look(struct walk *w)
{
    uint8_t head[HEAD_SIZE];

    if (w->port->page_size - w->at < UNIT) {
        return BM_ERR_STATE;
    }
    if (read(w, 0, head, HEAD_SIZE) != BM_OK) {
        return BM_ERR_PORT;
    }
    w->kind = head[0];
    w->size = (uint32_t)bm_get(head + 2, 2);
    int sane = head[0] != FREE && head[1] == 0 && room_for(w->size) <= w->port->page_size - w->at;
    return sane ? BM_OK : BM_ERR_STATE;
}

/* BM_OK if the CRC of the record holds, BM_ERR_STATE if not. */
static int whole(const struct walk *w)
{
    uint8_t unit[UNIT];
    uint16_t crc = 0;
    uint32_t covered = HEAD_SIZE + w->size;

    /* In pieces, so that the stack does not grow with the record. */
    for (uint32_t i = 0; i < covered; i += UNIT) {
        uint32_t size = covered - i < UNIT ? covered - i : UNIT;
        if (read(w, i, unit, size) != BM_OK) {
            return BM_ERR_PORT;
        }
        crc = bm_crc16(crc, unit, size);
    }
    if (read(w, covered, unit, CRC_SIZE) != BM_OK) {
        return BM_ERR_PORT;
    }
    return unit[0] == (uint8_t)crc && unit[1] == crc >> 8 ? BM_OK : BM_ERR_STATE;
}

int bm_flash_newest(const struct bm_port *port, unsigned page, enum bm_record kind, uint8_t *payload, size_t size)
{
    struct walk w = {.port = port, .page = page};
    uint32_t newest = 0;
    int found = 0;
    int status;

    for (; (status = look(&w)) == BM_OK; w.at += room_for(w.size)) {
        if (w.kind != kind || w.size != size) {
            continue;
        }
        status = whole(&w);
        if (status == BM_ERR_PORT) {
            break;
        }
        if (status == BM_OK) {
            newest = w.at;
            found = 1;
        }
    }
    if (status != BM_ERR_STATE || !found) {
        return status;
    }
    w.at = newest;
    return read(&w, HEAD_SIZE, payload, size);
}

/* BM_OK if everything from w->at on reads FF, BM_ERR_SPACE if not: a unit that was programmed once, even half, cannot be
 * programmed again before the page is erased. */
static int free_from(const struct walk *w)
{
    uint8_t unit[UNIT];

    for (uint32_t i = 0; i < w->port->page_size - w->at; i += UNIT) {
        if (read(w, i, unit, UNIT) != BM_OK) {
            return BM_ERR_PORT;
        }
        for (unsigned j = 0; j < UNIT; j++) {
            if (unit[j] != FREE) {
                return BM_ERR_SPACE;
            }
        }
    }
    return BM_OK;
}

/* Byte i of a record: head, payload, CRC, zeros. */
static uint8_t record_byte(uint32_t i, const uint8_t head[HEAD_SIZE], const uint8_t *payload, size_t size, uint16_t crc)
{
    if (i < HEAD_SIZE) {
        return head[i];
    }
    i -= HEAD_SIZE;
    if (i < size) {
        return payload[i];
    }
    return i == size ? (uint8_t)crc : i == size + 1 ? (uint8_t)(crc >> 8) : 0;
}

int bm_flash_append(const struct bm_port *port, unsigned page, enum bm_record kind, const uint8_t *payload, size_t size)
{
    struct walk w = {.port = port, .page = page};
    uint8_t head[HEAD_SIZE] = {(uint8_t)kind, 0, (uint8_t)(size >> 8), (uint8_t)size};
    uint16_t crc = bm_crc16(bm_crc16(0, head, HEAD_SIZE), payload, size);
    uint32_t room = room_for((uint32_t)size);
    int status;

    while ((status = look(&w)) == BM_OK) {
        w.at += room_for(w.size);
    }
    if (status != BM_ERR_STATE) {
        return status;
    }
    if (room > port->page_size - w.at) {
        return BM_ERR_SPACE;
    }
    status = free_from(&w);
    if (status != BM_OK) {
        return status;
    }
    for (uint32_t i = 0; i < room; i += UNIT) {
        uint8_t unit[UNIT];
        uint8_t back[UNIT];
        for (uint32_t j = 0; j < UNIT; j++) {
            unit[j] = record_byte(i + j, head, payload, size, crc);
        }
        if (port->flash_program(port->user, page, w.at + i, unit, UNIT) != BM_OK || read(&w, i, back, UNIT) != BM_OK ||
            !bm_equal(unit, back, UNIT)) {
            return BM_ERR_PORT;
        }
    }
    return BM_OK;
}
