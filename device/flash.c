#include "flash.h"

#include "internal.h"

enum { HEAD_SIZE = 4, CRC_SIZE = 2, UNIT = BM_FLASH_UNIT, FREE = 0xFF, MARK_SIZE = 4 };

/* Before the first record of a page. */
static void start(struct bm_record *r, const struct bm_port *port, unsigned page)
{
    r->port = port;
    r->page = (uint8_t)page;
    r->at = 0;
    r->room = 0;
}

static int read(const struct bm_record *r, uint32_t at, uint8_t *out, size_t size)
{
    return r->port->flash_read(r->port->user, r->page, at, out, size) == BM_OK ? BM_OK : BM_ERR_PORT;
}

int bm_flash_read(const struct bm_record *r, uint32_t offset, uint8_t *out, size_t size)
{
    if (offset > r->size || size > r->size - offset) {
        return BM_ERR_PORT; /* the flash does not hold what was written */
    }
    return read(r, r->at + HEAD_SIZE + offset, out, size);
}

/* Read the unit at r->at; BM_ERR_STATE if it is free, or beyond the page's end. */
static int read_unit(const struct bm_record *r, uint8_t unit[UNIT])
{
    uint8_t all = FREE;

    if (r->at >= r->port->page_size) {
        return BM_ERR_STATE;
    }
    int status = read(r, r->at, unit, UNIT);
    for (unsigned i = 0; i < UNIT; i++) {
        all &= unit[i];
    }
    return status == BM_OK && all == FREE ? BM_ERR_STATE : status;
}

/* Say how much room a record of r->size takes; BM_ERR_SPACE if the page has less from r->at on. */
static int make_room(struct bm_record *r)
{
    r->room = (HEAD_SIZE + (uint32_t)r->size + CRC_SIZE + UNIT - 1) / UNIT * UNIT;
    return r->room <= r->port->page_size - r->at ? BM_OK : BM_ERR_SPACE;
}

/* BM_OK if the record at r->at is whole: CRC, and zeros behind it; BM_ERR_STATE if not. */
static int whole(const struct bm_record *r)
{
    uint32_t covered = HEAD_SIZE + (uint32_t)r->size;
    uint16_t crc = 0;

    /* In pieces, so that the stack does not grow with the record. */
    for (uint32_t i = 0; i < r->room; i++) {
        uint8_t byte;
        if (read(r, r->at + i, &byte, 1) != BM_OK) {
            return BM_ERR_PORT;
        }
        if (i < covered) {
            crc = bm_crc16(crc, &byte, 1);
        } else if (byte == (uint8_t)crc) {
            crc >>= 8;
        } else {
            return BM_ERR_STATE;
        }
    }
    return BM_OK;
}

/* A torn record is skipped by its length, so that nothing inside it is ever taken for a record. Where power failed within its
 * first unit the length may be wrong, or there is no head at all, but then nothing of it follows. */
int bm_flash_next(struct bm_record *r)
{
    uint8_t unit[UNIT];
    int status;

    do {
        r->at += r->room;
        r->room = 0;
        status = read_unit(r, unit);
        if (status != BM_OK) {
            return status;
        }
        r->kind = unit[0];
        r->size = (uint16_t)bm_get(unit + 2, 2);
        if (unit[1] == 0 && make_room(r) == BM_OK) {
            status = whole(r);
        } else {
            r->room = UNIT;
            status = BM_ERR_STATE;
        }
    } while (status == BM_ERR_STATE);
    return status;
}

int bm_flash_last(const struct bm_port *port, unsigned page, enum bm_record_kind kind, struct bm_record *r)
{
    uint32_t at = 0;
    uint16_t size = 0;
    int found = BM_ERR_STATE;
    int status;

    start(r, port, page);
    while ((status = bm_flash_next(r)) == BM_OK) {
        if (r->kind == kind) {
            at = r->at;
            size = r->size;
            found = BM_OK;
        }
    }
    r->at = at;
    r->size = size;
    r->room = 0;
    return status == BM_ERR_STATE ? found : status;
}

/* Append a record whose payload is in memory or, if that is NULL, in another record. */
static int append(struct bm_record *r, const uint8_t *payload, const struct bm_record *other)
{
    struct bm_record end;
    uint8_t unit[UNIT];
    int status;

    start(&end, r->port, r->page);
    while ((status = bm_flash_next(&end)) == BM_OK) {
    }
    r->at = end.at;
    if (status == BM_ERR_STATE) {
        status = make_room(r);
    }
    if (status != BM_OK) {
        return status;
    }
    /* A unit that was programmed once, even half, cannot be programmed again before the page is erased. */
    while (end.at < r->port->page_size) {
        status = read_unit(&end, unit);
        if (status != BM_ERR_STATE) {
            return status == BM_OK ? BM_ERR_SPACE : status;
        }
        end.at += UNIT;
    }
    uint8_t head[HEAD_SIZE] = {r->kind, 0, (uint8_t)(r->size >> 8), (uint8_t)r->size};
    uint32_t covered = HEAD_SIZE + (uint32_t)r->size;
    uint16_t crc = 0;
    for (uint32_t i = 0; i < r->room; i++) {
        uint8_t *byte = &unit[i % UNIT];
        if (i < HEAD_SIZE) {
            *byte = head[i];
        } else if (i >= covered) {
            *byte = (uint8_t)crc;
            crc >>= 8;
        } else if (payload != NULL) {
            *byte = payload[i - HEAD_SIZE];
        } else if (bm_flash_read(other, i - HEAD_SIZE, byte, 1) != BM_OK) {
            return BM_ERR_PORT;
        }
        if (i < covered) {
            crc = bm_crc16(crc, byte, 1);
        }
        if (i % UNIT == UNIT - 1 &&
            r->port->flash_program(r->port->user, r->page, r->at + i - (UNIT - 1), unit, UNIT) != BM_OK) {
            return BM_ERR_PORT;
        }
    }
    return whole(r) == BM_OK ? BM_OK : BM_ERR_PORT;
}

int bm_flash_append(struct bm_record *r, const uint8_t *payload)
{
    return append(r, payload, NULL);
}

/* The page that counts and its mark, the highest there is; BM_ERR_STATE, page B and 0 if neither has one. */
static int counting(const struct bm_port *port, unsigned *page, uint32_t *mark)
{
    uint8_t bytes[MARK_SIZE];
    struct bm_record r;

    *page = BM_PAGE_STATE_B;
    *mark = 0;
    for (unsigned i = BM_PAGE_STATE_A; i <= BM_PAGE_STATE_B; i++) {
        int status = bm_flash_last(port, i, BM_RECORD_MARK, &r);
        if (status == BM_OK) {
            status = bm_flash_read(&r, 0, bytes, MARK_SIZE);
        }
        if (status == BM_ERR_PORT) {
            return status;
        }
        uint32_t its = status == BM_OK ? (uint32_t)bm_get(bytes, MARK_SIZE) : 0;
        if (its > *mark) {
            *page = i;
            *mark = its;
        }
    }
    return *mark > 0 ? BM_OK : BM_ERR_STATE;
}

int bm_flash_state(const struct bm_port *port, enum bm_record_kind kind, struct bm_record *r)
{
    unsigned page;
    uint32_t mark;

    int status = counting(port, &page, &mark);
    return status == BM_OK ? bm_flash_last(port, page, kind, r) : status;
}

static int erase(const struct bm_port *port, unsigned page)
{
    return port->flash_erase(port->user, page) == BM_OK ? BM_OK : BM_ERR_PORT;
}

int bm_flash_replace(struct bm_record *r, const uint8_t *payload)
{
    struct bm_record kept = {.size = 0}; /* what counts of the other kind */
    struct bm_record copy;
    uint8_t bytes[MARK_SIZE];
    unsigned page;
    uint32_t mark;

    int status = counting(r->port, &page, &mark);
    if (status == BM_OK) {
        r->page = (uint8_t)page;
        status = append(r, payload, NULL);
        if (status != BM_ERR_SPACE) {
            return status;
        }
        status = bm_flash_last(r->port, page, BM_RECORD_PAIRING + BM_RECORD_LIST - r->kind, &kept);
    }
    if (status == BM_ERR_PORT) {
        return status;
    }
    /* Everything to the other page, and its mark last: from then on that page counts. */
    r->page = (uint8_t)(BM_PAGE_STATE_A + BM_PAGE_STATE_B - page);
    copy.port = r->port;
    copy.page = r->page;
    status = erase(r->port, r->page);
    if (status == BM_OK && kept.size > 0) {
        copy.kind = (uint8_t)(BM_RECORD_PAIRING + BM_RECORD_LIST - r->kind);
        copy.size = kept.size;
        status = append(&copy, NULL, &kept);
    }
    if (status == BM_OK) {
        status = append(r, payload, NULL);
    }
    if (status == BM_OK) {
        bm_put(bytes, MARK_SIZE, mark + 1);
        copy.kind = BM_RECORD_MARK;
        copy.size = MARK_SIZE;
        status = append(&copy, bytes, NULL);
    }
    return status == BM_OK ? erase(r->port, page) : status;
}
