#include "flash.h"
#include "stubs.h"

/* A page that is any records, of any sizes that it can hold, and ends at some point. */

static int any_record(struct bm_record *r)
{
    if (Frama_C_interval(0, 1)) {
        return Frama_C_interval(0, 1) ? BM_ERR_PORT : BM_ERR_STATE;
    }
    r->kind = (uint8_t)Frama_C_interval(0, 255);
    r->size = (uint16_t)Frama_C_interval(0, 65535);
    r->at = (uint32_t)Frama_C_interval(0, 65535);
    return BM_OK;
}

void bm_flash_start(struct bm_record *r, const struct bm_port *port, unsigned page)
{
    *r = (struct bm_record){.port = port, .page = (uint8_t)page};
}

int bm_flash_next(struct bm_record *r)
{
    return any_record(r);
}

int bm_flash_last(const struct bm_port *port, unsigned page, enum bm_record_kind kind, struct bm_record *r)
{
    (void)kind;
    bm_flash_start(r, port, page);
    return any_record(r);
}

int bm_flash_state(const struct bm_port *port, enum bm_record_kind kind, struct bm_record *r)
{
    return bm_flash_last(port, BM_PAGE_STATE_A, kind, r);
}

int bm_flash_read(const struct bm_record *r, uint32_t offset, uint8_t *out, size_t size)
{
    (void)r, (void)offset;
    return stub_output(out, size);
}

int bm_flash_append(struct bm_record *r, const uint8_t *payload)
{
    use(payload, r->size);
    return Frama_C_interval(0, 1) ? BM_ERR_SPACE : any_status();
}

int bm_flash_replace(struct bm_record *r, const uint8_t *payload)
{
    return bm_flash_append(r, payload);
}
