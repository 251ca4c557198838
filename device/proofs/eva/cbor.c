#include "harness.h"
#include "internal.h"

/* Any number of reads of any kinds and sizes, whatever came of those before: after them the reader stands anywhere. */
static void read_any(struct bm_reader *r)
{
    while (Frama_C_interval(0, 1)) {
        enum bm_major major = (enum bm_major)Frama_C_interval(BM_UINT, BM_SIMPLE);
        uint32_t argument = Frama_C_unsigned_int_interval(0, 0xffffffff);
        switch (Frama_C_interval(0, 5)) {
        case 0:
            (void)bm_read_peek(r);
            break;
        case 1:
            (void)bm_read(r, major);
            break;
        case 2:
            bm_read_expect(r, major, argument);
            break;
        case 3:
            (void)bm_read_raw(r, argument);
            break;
        case 4:
            (void)bm_read_bytes(r, argument);
            break;
        default:
            bm_read_skip(r);
        }
    }
}

/* What is read lies inside the input. */
static void use_content(struct bm_reader *r, uint32_t size)
{
    const uint8_t *content = bm_read_raw(r, size);

    if (content != NULL) {
        use(content, size);
        if (bm_read_end(r) == BM_OK) {
            ACCEPTED();
        }
    }
}

void reader(void)
{
    FOR_EACH_SIZE(size) {
        uint32_t told = Frama_C_unsigned_int_interval(0, 0xffffffff);
        struct bm_reader r;
        bm_read_start(&r, INPUT(size), size);
        read_any(&r);
        /*@ split r.at; */
        if (told <= size) {
            /*@ split told; */
            use_content(&r, told);
        } else if (told > 0xffffffff - r.at) { /* where their sum wraps */
            use_content(&r, told);
        } else {
            use_content(&r, told);
        }
    }
}

/* A reader that stands at any place in the input. */
static void start_anywhere(struct bm_reader *r, size_t size)
{
    bm_read_start(r, INPUT(size), size);
    r->at = Frama_C_unsigned_int_interval(0, size);
}

/* A read that is good goes on, and not beyond the end. */
void forward(void)
{
    FOR_EACH_SIZE(size) {
        struct bm_reader r;
        size_t at;
        uint32_t told = Frama_C_unsigned_int_interval(0, 0xffffffff);
        start_anywhere(&r, size);
        at = r.at;
        /*@ split at; */
        if (Frama_C_interval(0, 1)) {
            (void)bm_read(&r, (enum bm_major)Frama_C_interval(BM_UINT, BM_SIMPLE));
            /*@ assert r.bad || at < r.at <= r.size; */
        } else {
            /*@ assert told <= 0xffffffff - at || told > 0xffffffff - at; */ /* where their sum wraps */
            (void)bm_read_raw(&r, told);
            /*@ assert r.bad || at <= r.at <= r.size; */
        }
        if (r.bad == 0) {
            ACCEPTED();
        }
    }
}

/* Items of any depth, as long as a message may be. */
void skip(void)
{
    FOR_EACH_SIZE(size) {
        struct bm_reader r;
        start_anywhere(&r, size);
        bm_read_skip(&r);
        /*@ assert r.bad || r.at <= r.size; */
        if (bm_read_end(&r) == BM_OK) {
            ACCEPTED();
        }
    }
}
