#include "pairing.h"

#include "flash.h"
#include "internal.h"

/* A record's payload: the generation alone, or these three. */
enum { AT_ORDER_HASH = 4, AT_UNIT = AT_ORDER_HASH + BM_ORDER_HASH_SIZE, PAYLOAD_MAX = AT_UNIT + BM_UNIT_CERTIFICATE_MAX };

/* The state that the newest record says, and where it lies unless that is a fault. */
static enum bm_pairing_state find(const struct bm_port *port, struct bm_record *r)
{
    if (!bm_flash_state(port, BM_RECORD_PAIRING, r)) {
        return BM_PAIRING_FAULT;
    }
    if (r->size == AT_ORDER_HASH) {
        return BM_PAIRING_OPEN;
    }
    return r->size > AT_UNIT && r->size <= PAYLOAD_MAX ? BM_PAIRING_PAIRED : BM_PAIRING_FAULT;
}

void bm_pairing_read(const struct bm_port *port, struct bm_pairing *pairing)
{
    struct bm_record r;

    bm_wipe(pairing, sizeof *pairing);
    pairing->state = (uint8_t)find(port, &r);
    if (pairing->state != BM_PAIRING_FAULT) {
        pairing->generation = bm_get(r.payload, AT_ORDER_HASH);
    }
    if (pairing->state == BM_PAIRING_PAIRED) {
        pairing->unit_size = (uint8_t)(r.size - AT_UNIT);
        bm_copy(pairing->order_hash, r.payload + AT_ORDER_HASH, BM_ORDER_HASH_SIZE);
        bm_copy(pairing->unit, r.payload + AT_UNIT, pairing->unit_size);
    }
}

int bm_pairing_write(const struct bm_port *port, const struct bm_pairing *pairing)
{
    uint8_t payload[PAYLOAD_MAX];
    size_t size = AT_ORDER_HASH;
    struct bm_record r;
    uint32_t generation = 0;

    if (find(port, &r) != BM_PAIRING_FAULT) {
        generation = bm_get(r.payload, AT_ORDER_HASH) + 1;
    }
    if (pairing->generation != generation) {
        return BM_ERR_STATE;
    }
    bm_put(payload, AT_ORDER_HASH, pairing->generation);
    if (pairing->state == BM_PAIRING_PAIRED) {
        bm_copy(payload + AT_ORDER_HASH, pairing->order_hash, BM_ORDER_HASH_SIZE);
        bm_copy(payload + AT_UNIT, pairing->unit, pairing->unit_size);
        size = AT_UNIT + (size_t)pairing->unit_size;
    }
    return bm_flash_replace(port, BM_RECORD_PAIRING, payload, size) == BM_OK ? BM_OK : BM_ERR_PORT;
}
