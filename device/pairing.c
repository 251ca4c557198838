#include "pairing.h"

#include "flash.h"
#include "internal.h"

#define GENERATION_SIZE 4

/* The page with the newest record, and its generation. */
static int newest(const struct bm_port *port, unsigned *page, uint32_t *generation)
{
    int found = BM_ERR_STATE;

    *page = BM_PAGE_STATE_A;
    *generation = 0;
    for (unsigned candidate = BM_PAGE_STATE_A; candidate <= BM_PAGE_STATE_B; candidate++) {
        uint8_t payload[GENERATION_SIZE];
        int status = bm_flash_newest(port, candidate, BM_RECORD_PAIRING_OPEN, payload, GENERATION_SIZE);
        if (status == BM_ERR_STATE) {
            continue;
        }
        if (status != BM_OK) {
            *generation = 0;
            return status;
        }
        uint32_t its = (uint32_t)bm_get(payload, GENERATION_SIZE);
        if (found != BM_OK || its > *generation) {
            found = BM_OK;
            *page = candidate;
            *generation = its;
        }
    }
    return found;
}

int bm_pairing_generation(const struct bm_port *port, uint32_t *generation)
{
    unsigned page;

    return newest(port, &page, generation);
}

int bm_pairing_open(const struct bm_port *port, uint32_t generation)
{
    uint8_t payload[GENERATION_SIZE];
    unsigned page;
    uint32_t before;

    if (newest(port, &page, &before) == BM_ERR_PORT) {
        return BM_ERR_PORT;
    }
    bm_put(payload, GENERATION_SIZE, generation);
    int status = bm_flash_append(port, page, BM_RECORD_PAIRING_OPEN, payload, GENERATION_SIZE);
    if (status == BM_ERR_SPACE) {
        unsigned other = BM_PAGE_STATE_A + BM_PAGE_STATE_B - page;
        if (port->flash_erase(port->user, other) != BM_OK ||
            bm_flash_append(port, other, BM_RECORD_PAIRING_OPEN, payload, GENERATION_SIZE) != BM_OK ||
            port->flash_erase(port->user, page) != BM_OK) {
            return BM_ERR_PORT;
        }
        return BM_OK;
    }
    return status;
}
