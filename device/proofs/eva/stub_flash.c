#include "flash.h"
#include "stubs.h"
#include "trust.h"

/* Pages that hold records of any bytes and end at some point. In the trust page a record has an anchor's size or the one that
 * the harness tries for links, in the state pages the one that it tries for what is there. A record ends where its object ends,
 * and lies there at any time that it is read. */

size_t stored_link;
size_t stored_state;
static uint8_t stored[BM_SIGNED_OBJECT_MAX + 1];

static int any_record(struct bm_record *r, size_t size)
{
    any(stored, sizeof stored);
    r->payload = stored + (sizeof stored - size);
    r->size = (uint16_t)size;
    r->kind = (uint8_t)Frama_C_interval(0, 255);
    r->end = (uint32_t)Frama_C_interval(0, 2048);
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
    return any_record(r, Frama_C_interval(0, 1) ? BM_ANCHOR_SIZE : stored_link);
}

int bm_flash_state(const struct bm_port *port, enum bm_record_kind kind, struct bm_record *r)
{
    (void)kind;
    bm_flash_start(r, port, BM_PAGE_STATE_A);
    return any_record(r, stored_state);
}

/* What is written is of the sizes that are tried where it is read. */
int bm_flash_append(const struct bm_port *port, unsigned page, enum bm_record_kind kind, const uint8_t *payload, size_t size)
{
    (void)port, (void)page, (void)kind;
    /*@ assert size <= BM_SIGNED_OBJECT_MAX; */
    use(payload, size);
    return Frama_C_interval(0, 1) ? BM_ERR_SPACE : any_status();
}

int bm_flash_replace(const struct bm_port *port, enum bm_record_kind kind, const uint8_t *payload, size_t size)
{
    return bm_flash_append(port, BM_PAGE_STATE_A, kind, payload, size);
}
