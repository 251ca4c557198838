#include "internal.h"

void bm_read_start(struct bm_reader *r, const uint8_t *bytes, size_t size)
{
    r->bytes = bytes;
    r->size = size;
    r->at = 0;
    r->bad = 0;
}

const uint8_t *bm_read_raw(struct bm_reader *r, size_t size)
{
    size_t end = r->at + size;

    if (r->bad || end < size || end > r->size) {
        r->bad = 1;
        return NULL;
    }
    const uint8_t *raw = r->bytes + r->at;
    r->at = end;
    return raw;
}

/* The next byte, 0 after the end. */
static uint32_t next(struct bm_reader *r)
{
    const uint8_t *byte = bm_read_raw(r, 1);

    return byte == NULL ? 0 : *byte;
}

enum bm_major bm_read_peek(const struct bm_reader *r)
{
    return r->bad || r->at == r->size ? BM_SIMPLE : (enum bm_major)(r->bytes[r->at] >> 5);
}

uint32_t bm_read(struct bm_reader *r, enum bm_major major)
{
    uint32_t head = next(r);
    uint32_t argument = head & 31;

    if (head >> 5 != (uint32_t)major || argument > 26) {
        r->bad = 1;
    } else if (argument >= 24) { /* RFC 8949, section 3: 24, 25, 26 announce 1, 2, 4 bytes */
        unsigned size = 1u << (argument - 24);
        uint32_t least = size == 1 ? 24 : 1u << 4 * size;
        for (argument = 0; size > 0; size--) {
            argument = argument << 8 | next(r);
        }
        if (argument < least) {
            r->bad = 1;
        }
    }
    return r->bad ? 0 : argument;
}

void bm_read_expect(struct bm_reader *r, enum bm_major major, uint32_t argument)
{
    if (bm_read(r, major) != argument) {
        r->bad = 1;
    }
}

const uint8_t *bm_read_bytes(struct bm_reader *r, size_t size)
{
    bm_read_expect(r, BM_BYTES, (uint32_t)size);
    return bm_read_raw(r, size);
}

void bm_read_exactly(struct bm_reader *r, const uint8_t *bytes, size_t size)
{
    const uint8_t *raw = bm_read_raw(r, size);

    if (raw != NULL && !bm_equal(raw, bytes, size)) {
        r->bad = 1;
    }
}

void bm_read_skip(struct bm_reader *r)
{
    for (size_t items = 1; items > 0 && !r->bad; items--) {
        enum bm_major major = bm_read_peek(r);
        uint32_t argument = bm_read(r, major);
        size_t rest = r->size - r->at; /* each item takes a byte at least, so no sum below overflows */
        if (major == BM_BYTES || major == BM_TEXT) {
            (void)bm_read_raw(r, argument);
        } else if (major == BM_ARRAY || major == BM_MAP) {
            items += argument > rest ? rest + 1 : argument << (major == BM_MAP);
        } else if (major == BM_TAG) {
            items++;
        } else if (major == BM_SIMPLE && argument > 23) {
            r->bad = 1;
        }
        r->bad |= items > rest + 1;
    }
}

int bm_read_end(const struct bm_reader *r)
{
    return r->bad || r->at != r->size ? BM_ERR_MALFORMED : BM_OK;
}

void bm_write_start(struct bm_writer *w, uint8_t *out, size_t size)
{
    w->out = out;
    w->size = size;
    w->len = 0;
}

void bm_write_raw(struct bm_writer *w, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++, w->len++) {
        if (w->len < w->size) {
            w->out[w->len] = bytes[i];
        }
    }
}

size_t bm_head(uint8_t head[BM_HEAD_MAX], enum bm_major major, uint32_t argument)
{
    uint32_t kind = argument; /* the head's low five bits */
    size_t size = 0;

    if (argument >= 24) {
        size = argument < 0x100 ? 1 : argument < 0x10000 ? 2 : 4;
        kind = 24 + (uint32_t)size / 2; /* 1, 2, 4 bytes: 24, 25, 26 */
    }
    head[0] = (uint8_t)((uint32_t)major << 5 | kind);
    bm_put(head + 1, size, argument);
    return 1 + size;
}

void bm_write(struct bm_writer *w, enum bm_major major, uint32_t argument)
{
    uint8_t head[BM_HEAD_MAX];

    bm_write_raw(w, head, bm_head(head, major, argument));
}

void bm_write_string(struct bm_writer *w, enum bm_major major, const void *bytes, size_t size)
{
    bm_write(w, major, (uint32_t)size);
    bm_write_raw(w, bytes, size);
}
