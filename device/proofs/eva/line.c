#include "harness.h"
#include "line.h"

/* Bytes without end, of any values, into a receiver with a buffer of this size. */
void receive(void)
{
    FOR_EACH_SIZE(size) {
        struct bm_line line;
        bm_line_start(&line, INPUT(size), size);
        /*@ loop widen_hints line.len, HI; */
        while (Frama_C_interval(0, 1)) {
            size_t payload_len;
            if (bm_line_receive(&line, (uint8_t)Frama_C_interval(0, 255), &payload_len)) {
                use(INPUT(size), payload_len + BM_LINE_CRC_SIZE);
                ACCEPTED();
            }
        }
    }
}
