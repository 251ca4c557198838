#include "pairing.h"

#include "flash.h"
#include "internal.h"

/* A record's payload: the generation alone, or these three. */
enum { AT_ORDER_HASH = 4, AT_UNIT = AT_ORDER_HASH + BM_ORDER_HASH_SIZE, PAYLOAD_MAX = AT_UNIT + BM_UNIT_CERTIFICATE_MAX };

int bm_pairing_read(const struct bm_port *port, struct bm_pairing *pairing)
{
    uint8_t payload[PAYLOAD_MAX];
    struct bm_record r;

    bm_wipe(pairing, sizeof *pairing); /* a fault */
    int status = bm_flash_state(port, BM_RECORD_PAIRING, &r);
    if (status == BM_ERR_STATE) {
        return BM_OK;
    }
    if (status != BM_OK) {
        return status;
    }
    int paired = r.size > AT_UNIT && r.size <= PAYLOAD_MAX;
    if (!paired && r.size != AT_ORDER_HASH) {
        return BM_OK;
    }
    status = bm_flash_read(&r, 0, payload, r.size);
    if (status != BM_OK) {
        return status;
    }
    pairing->state = BM_PAIRING_OPEN;
    pairing->generation = (uint32_t)bm_get(payload, AT_ORDER_HASH);
    if (paired) {
        pairing->state = BM_PAIRING_PAIRED;
        pairing->unit_size = (uint8_t)(r.size - AT_UNIT);
        bm_copy(pairing->order_hash, payload + AT_ORDER_HASH, BM_ORDER_HASH_SIZE);
        bm_copy(pairing->unit, payload + AT_UNIT, pairing->unit_size);
    }
    return BM_OK;
}

int bm_pairing_write(const struct bm_port *port, const struct bm_pairing *pairing)
{
    struct bm_record r = {.port = port, .kind = BM_RECORD_PAIRING, .size = AT_ORDER_HASH};
    struct bm_pairing before;
    uint8_t payload[PAYLOAD_MAX];

    int status = bm_pairing_read(port, &before);
    if (status != BM_OK) {
        return status;
    }
    if (pairing->generation != (before.state == BM_PAIRING_FAULT ? 0 : before.generation + 1)) {
        return BM_ERR_STATE;
    }
    bm_put(payload, AT_ORDER_HASH, pairing->generation);
    if (pairing->state == BM_PAIRING_PAIRED) {
        bm_copy(payload + AT_ORDER_HASH, pairing->order_hash, BM_ORDER_HASH_SIZE);
        bm_copy(payload + AT_UNIT, pairing->unit, pairing->unit_size);
        r.size = (uint16_t)(AT_UNIT + pairing->unit_size);
    }
    return bm_flash_replace(&r, payload) == BM_OK ? BM_OK : BM_ERR_PORT;
}
