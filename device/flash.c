#include "flash.h"

#include "internal.h"

enum { HEAD_SIZE = 4, CRC_SIZE = 2, UNIT = BM_FLASH_UNIT, MARK_SIZE = 4 };

/* Bytes that a record takes in its page. */
static uint32_t room_for(size_t payload_size)
{
    return (HEAD_SIZE + (uint32_t)payload_size + CRC_SIZE + UNIT - 1) / UNIT * UNIT;
}

/* 1 if CRC and zeros follow head and payload as they should, else 0. */
static int whole(const uint8_t *record, size_t covered, uint32_t room)
{
    uint16_t crc = bm_crc16(0, record, covered);
    unsigned difference = 0;

    for (; covered < room; covered++) {
        difference |= record[covered] ^ (uint8_t)crc;
        crc >>= 8;
    }
    return difference == 0;
}

void bm_flash_start(struct bm_record *r, const struct bm_port *port, unsigned page)
{
    r->port = port;
    r->page = (uint8_t)page;
    r->end = 0;
}

/* A torn record is skipped by its length, so that nothing inside it is ever taken for a record. Where power failed within its
 * first unit the length may be wrong, or there is no head at all, but then nothing of it follows. */
int bm_flash_next(struct bm_record *r)
{
    uint32_t page_size = r->port->page_size;

    while (page_size - r->end >= UNIT) {
        /*@ split r->end; */
        const uint8_t *record = r->port->flash + r->page * page_size + r->end;
        if (bm_is_all(0xff, record, UNIT)) {
            break; /* free */
        }
        r->kind = record[0];
        r->size = (uint16_t)bm_get(record + 2, 2);
        r->payload = record + HEAD_SIZE;
        if (record[1] != 0 || HEAD_SIZE + (uint32_t)r->size + CRC_SIZE > page_size - r->end) {
            r->end += UNIT;
            continue;
        }
        uint32_t room = room_for(r->size); /* it fits as well: a page is whole units */
        r->end += room;
        if (whole(record, HEAD_SIZE + (size_t)r->size, room)) {
            return 1;
        }
    }
    return 0;
}

/* The last whole record of this kind in a page; 0 if there is none. */
static int last(const struct bm_port *port, unsigned page, unsigned kind, struct bm_record *r)
{
    struct bm_record each;
    int found = 0;

    bm_flash_start(&each, port, page);
    while (bm_flash_next(&each)) {
        if (each.kind == kind) {
            *r = each;
            found = 1;
        }
    }
    return found;
}

int bm_flash_append(const struct bm_port *port, unsigned page, enum bm_record_kind kind, const uint8_t *payload, size_t size)
{
    const uint8_t head[HEAD_SIZE] = {(uint8_t)kind, 0, (uint8_t)(size >> 8), (uint8_t)size};
    uint16_t crc = bm_crc16(bm_crc16(0, head, HEAD_SIZE), payload, size);
    uint32_t room = room_for(size);
    uint8_t unit[UNIT];
    struct bm_record end;

    bm_flash_start(&end, port, page);
    while (bm_flash_next(&end)) {
    }
    if (room > port->page_size - end.end) {
        return BM_ERR_SPACE;
    }
    for (uint32_t i = 0; i < room; i++) {
        uint8_t *byte = &unit[i % UNIT];
        if (i < HEAD_SIZE) {
            *byte = head[i];
        } else if (i < HEAD_SIZE + size) {
            *byte = payload[i - HEAD_SIZE];
        } else {
            *byte = (uint8_t)crc;
            crc >>= 8;
        }
        if (i % UNIT == UNIT - 1 && port->flash_program(port->user, page, end.end + i + 1 - UNIT, unit, UNIT) != BM_OK) {
            return BM_ERR_PORT;
        }
    }
    room += end.end; /* where the next one is to be: a record further on that says the same is not this one */
    return bm_flash_next(&end) && end.end == room && end.size == size && bm_equal(end.payload, payload, size) ? BM_OK : BM_ERR_PORT;
}

/* The page that counts, and its mark, the highest there is; page B and 0 if neither has one. */
static unsigned counting(const struct bm_port *port, uint32_t *mark)
{
    unsigned page = BM_PAGE_STATE_B;
    struct bm_record r;

    *mark = 0;
    for (unsigned i = BM_PAGE_STATE_A; i <= BM_PAGE_STATE_B; i++) {
        if (last(port, i, BM_RECORD_MARK, &r) && r.size == MARK_SIZE && bm_get(r.payload, MARK_SIZE) > *mark) {
            page = i;
            *mark = bm_get(r.payload, MARK_SIZE);
        }
    }
    return page;
}

int bm_flash_state(const struct bm_port *port, enum bm_record_kind kind, struct bm_record *r)
{
    uint32_t mark;
    unsigned page = counting(port, &mark);

    return mark > 0 && last(port, page, kind, r);
}

int bm_flash_replace(const struct bm_port *port, enum bm_record_kind kind, const uint8_t *payload, size_t size)
{
    const enum bm_record_kind other_kind = BM_RECORD_PAIRING + BM_RECORD_LIST - kind;
    struct bm_record other;
    uint8_t bytes[MARK_SIZE];
    uint32_t mark;
    unsigned page = counting(port, &mark);

    if (mark > 0 && bm_flash_append(port, page, kind, payload, size) == BM_OK) {
        return BM_OK;
    }
    /* Everything to the other page, and its mark last: from then on that page counts. */
    unsigned to = BM_PAGE_STATE_A + BM_PAGE_STATE_B - page;
    int status = port->flash_erase(port->user, to);
#ifdef BM_CONFIG_IO_KEY
    if (status == BM_OK && kind != BM_RECORD_IO_KEY && bm_flash_state(port, BM_RECORD_IO_KEY, &other)) {
        status = bm_flash_append(port, to, BM_RECORD_IO_KEY, other.payload, other.size);
    }
#endif
    if (status == BM_OK && bm_flash_state(port, other_kind, &other)) {
        status = bm_flash_append(port, to, other_kind, other.payload, other.size);
    }
    if (status == BM_OK) {
        status = bm_flash_append(port, to, kind, payload, size);
    }
    if (status == BM_OK) {
        bm_put(bytes, MARK_SIZE, mark + 1);
        status = bm_flash_append(port, to, BM_RECORD_MARK, bytes, MARK_SIZE);
    }
    if (status == BM_OK) {
        status = port->flash_erase(port->user, page);
    }
    return status == BM_OK || status == BM_ERR_SPACE ? status : BM_ERR_PORT;
}
