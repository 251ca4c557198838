#include "session.h"
#include "stubs.h"

void bm_edhoc_wipe(struct bm_edhoc *e)
{
    any(e, sizeof *e);
}

/* A record into an open session of any generation and counters. */
void record(void)
{
    FOR_EACH_SIZE(size) {
        const struct bm_port port = {.aes = NULL};
        struct bm_session s;
        size_t text_len;
        any(&s, sizeof s);
        s.open = 1;
        s.role = (uint8_t)Frama_C_interval(0, 1);
        if (bm_session_open(&s, &port, INPUT(size), size, &text_len) == BM_OK) {
            use(INPUT(size) + BM_RECORD_HEADER_SIZE, text_len);
            ACCEPTED();
        }
    }
}
