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
