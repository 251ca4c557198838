#include "stubs.h"
#include "trust.h"

static int read_any(void *user, unsigned page, uint32_t offset, uint8_t *out, size_t size)
{
    (void)user, (void)page, (void)offset;
    return stub_output(out, size);
}

static int write_any(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size)
{
    (void)user, (void)page, (void)offset;
    use(data, size);
    return any_status();
}

static int erase_any(void *user, unsigned page)
{
    (void)user, (void)page;
    return any_status();
}

static const struct bm_port port = {.verify = stub_verify, .flash_read = read_any, .flash_program = write_any,
                                    .flash_erase = erase_any, .page_size = 2048};

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
