#include "flash.h"
#include "stubs.h"

/* Pages that hold records of any bytes, of an anchor's size or a link's that closes no order, and end at some point. */

enum { LINK_SIZE = 6 + 2 + BM_ANCHOR_SIZE + 2 + BM_SIGNATURE_SIZE };

static uint8_t page_of_any[2048];

static int any_record(struct bm_record *r)
{
    any(page_of_any, sizeof page_of_any);
    r->payload = page_of_any + 4;
    r->size = Frama_C_interval(0, 1) ? BM_ANCHOR_SIZE : LINK_SIZE;
    r->kind = (uint8_t)Frama_C_interval(0, 255);
    r->end = (uint32_t)Frama_C_interval(0, sizeof page_of_any);
    return Frama_C_interval(0, 1);
}

void bm_flash_start(struct bm_record *r, const struct bm_port *port, unsigned page)
{
    any(r, sizeof *r);
    r->port = port;
    r->page = (uint8_t)page;
    r->payload = NULL;
}

int bm_flash_next(struct bm_record *r)
{
    return any_record(r);
}

int bm_flash_state(const struct bm_port *port, enum bm_record_kind kind, struct bm_record *r)
{
    (void)kind;
    bm_flash_start(r, port, BM_PAGE_STATE_A);
    return any_record(r);
}

int bm_flash_append(const struct bm_port *port, unsigned page, enum bm_record_kind kind, const uint8_t *payload, size_t size)
{
    (void)port, (void)page, (void)kind;
    use(payload, size);
    return Frama_C_interval(0, 1) ? BM_ERR_SPACE : any_status();
}

int bm_flash_replace(const struct bm_port *port, enum bm_record_kind kind, const uint8_t *payload, size_t size)
{
    return bm_flash_append(port, BM_PAGE_STATE_A, kind, payload, size);
}
