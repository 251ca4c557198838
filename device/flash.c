#include "flash.h"

#include "internal.h"

enum { HEAD_SIZE = 4, CRC_SIZE = 2, UNIT = BM_FLASH_UNIT, MARK_SIZE = 4 };

static int read(const struct bm_record *r, uint32_t at, uint8_t *out, size_t size)
{
    return r->port->flash_read(r->port->user, r->page, at, out, size) == BM_OK ? BM_OK : BM_ERR_PORT;
}

static int erase(const struct bm_port *port, unsigned page)
{
    return port->flash_erase(port->user, page) == BM_OK ? BM_OK : BM_ERR_PORT;
}

int bm_flash_read(const struct bm_record *r, uint32_t offset, uint8_t *out, size_t size)
{
    if (offset > r->size || size > r->size - offset) {
        return BM_ERR_PORT; /* the flash does not hold what was written */
    }
    return read(r, r->at + HEAD_SIZE + offset, out, size);
}

/* Say how much room the record takes; BM_ERR_SPACE if the page has less from r->at on. */
static int make_room(struct bm_record *r)
{
    r->room = (HEAD_SIZE + (uint32_t)r->size + CRC_SIZE + UNIT - 1) / UNIT * UNIT;
    return r->room <= r->port->page_size - r->at ? BM_OK : BM_ERR_SPACE;
}

/* Hold what lies at r->at against a record of its kind and size: head, payload, CRC, zeros. The payload is in memory or, if that
 * is NULL, in another record; is that r itself, then all is as it should be if the CRC holds, and otherwise what should be is
 * programmed first. In units, so that the stack does not grow with the record. BM_OK, BM_ERR_STATE or BM_ERR_PORT. */
static int match(const struct bm_record *r, const uint8_t *payload, const struct bm_record *other)
{
    const uint8_t head[HEAD_SIZE] = {r->kind, 0, (uint8_t)(r->size >> 8), (uint8_t)r->size};
    uint8_t wanted[UNIT];
    uint8_t found[UNIT];
    uint16_t crc = 0;

    for (uint32_t at = 0; at < r->room; at += UNIT) {
        if (payload == NULL && read(other, other->at + at, wanted, UNIT) != BM_OK) {
            return BM_ERR_PORT;
        }
        for (uint32_t i = at; i < at + UNIT; i++) {
            uint8_t *byte = &wanted[i % UNIT];
            if (i >= HEAD_SIZE + (uint32_t)r->size) {
                *byte = (uint8_t)crc;
                crc >>= 8;
                continue;
            }
            if (payload != NULL) {
                *byte = i < HEAD_SIZE ? head[i] : payload[i - HEAD_SIZE];
            }
            crc = bm_crc16(crc, byte, 1);
        }
        if ((other != r && r->port->flash_program(r->port->user, r->page, r->at + at, wanted, UNIT) != BM_OK) ||
            read(r, r->at + at, found, UNIT) != BM_OK) {
            return BM_ERR_PORT;
        }
        if (!bm_equal(wanted, found, UNIT)) {
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
    int status = BM_ERR_STATE;

    while (status == BM_ERR_STATE) {
        r->at += r->room;
        r->room = 0;
        if (r->at >= r->port->page_size) {
            break;
        }
        if (read(r, r->at, unit, UNIT) != BM_OK) {
            return BM_ERR_PORT;
        }
        if (bm_get(unit, UNIT) == UINT64_MAX) {
            break; /* free */
        }
        r->kind = unit[0];
        r->size = (uint16_t)bm_get(unit + 2, 2);
        if (unit[1] == 0 && make_room(r) == BM_OK) {
            status = match(r, NULL, r);
        } else {
            r->room = UNIT;
        }
    }
    return status;
}

void bm_flash_start(struct bm_record *r, const struct bm_port *port, unsigned page)
{
    r->port = port;
    r->page = (uint8_t)page;
    r->at = 0;
    r->room = 0;
}

int bm_flash_last(const struct bm_port *port, unsigned page, enum bm_record_kind kind, struct bm_record *r)
{
    uint32_t at = 0;
    uint16_t size = 0;
    int found = BM_ERR_STATE;
    int status;

    bm_flash_start(r, port, page);
    while ((status = bm_flash_next(r)) == BM_OK) {
        if (r->kind == kind) {
            at = r->at;
            size = r->size;
            found = BM_OK;
        }
    }
    r->at = at;
    r->size = size;
    return status == BM_ERR_STATE ? found : status;
}

/* Append a record whose payload is in memory or, if that is NULL, in another record. */
static int append(struct bm_record *r, const uint8_t *payload, const struct bm_record *other)
{
    struct bm_record end;
    int status;

    bm_flash_start(&end, r->port, r->page);
    do {
        status = bm_flash_next(&end);
    } while (status == BM_OK);
    r->at = end.at;
    if (status == BM_ERR_STATE) {
        status = make_room(r);
    }
    if (status == BM_OK && match(r, payload, other) != BM_OK) {
        status = BM_ERR_PORT;
    }
    return status;
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
        if (append(r, payload, NULL) == BM_OK) {
            return BM_OK;
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
