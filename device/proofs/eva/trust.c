#include "stubs.h"
#include "trust.h"

static const struct bm_port port = {.verify = stub_verify, .page_size = 2048};

void take_release(void)
{
    uint8_t serial[BM_UNIT_NAME_SIZE];

    FOR_EACH_SIZE(size) {
        any(serial, sizeof serial);
        if (bm_trust_release(&port, serial, 7, INPUT(size), size) == BM_OK) {
            ACCEPTED();
        }
    }
}
