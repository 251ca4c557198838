#include "installed.h"

#include "flash.h"
#include "internal.h"

enum { ARRAY_OF_TWO = 0x82 }; /* the CBOR head that a filled slot begins with */

int bm_installed_read_anchor(const struct bm_port *port, uint8_t anchor[BM_ANCHOR_SIZE])
{
    return bm_flash_newest(port, BM_PAGE_TRUST, BM_RECORD_ANCHOR, anchor, BM_ANCHOR_SIZE);
}

int bm_installed_write_anchor(const struct bm_port *port, const uint8_t anchor[BM_ANCHOR_SIZE])
{
    uint8_t newest[BM_ANCHOR_SIZE];

    int status = bm_installed_read_anchor(port, newest);
    if (status == BM_OK && bm_equal(newest, anchor, BM_ANCHOR_SIZE)) {
        return BM_OK;
    }
    if (status == BM_ERR_PORT) {
        return BM_ERR_PORT;
    }
    status = bm_flash_append(port, BM_PAGE_TRUST, BM_RECORD_ANCHOR, anchor, BM_ANCHOR_SIZE);
    if (status == BM_ERR_SPACE) {
        /* What fills the page are attempts that lost power, or anchors of images that this unit no longer has. */
        if (port->flash_erase(port->user, BM_PAGE_TRUST) != BM_OK) {
            return BM_ERR_PORT;
        }
        status = bm_flash_append(port, BM_PAGE_TRUST, BM_RECORD_ANCHOR, anchor, BM_ANCHOR_SIZE);
    }
    return status == BM_OK ? BM_OK : BM_ERR_PORT;
}

int bm_installed_write_certificates(struct bm_atecc608 *chip, const struct bm_birth *birth,
                                    uint8_t slot[BM_ATECC608_SLOT_SIZE])
{
    uint8_t block[BM_ATECC608_BLOCK_SIZE];
    struct bm_writer w;

    bm_wipe(slot, BM_ATECC608_SLOT_SIZE);
    bm_write_start(&w, slot, BM_ATECC608_SLOT_SIZE);
    bm_write(&w, BM_ARRAY, 2);
    bm_write_string(&w, BM_BYTES, birth->order, birth->order_size);
    bm_write_string(&w, BM_BYTES, birth->unit, birth->unit_size);

    /* The first round writes what differs, the second finds no difference. */
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < BM_ATECC608_SLOT_SIZE / BM_ATECC608_BLOCK_SIZE; i++) {
            const uint8_t *wanted = slot + i * BM_ATECC608_BLOCK_SIZE;
            if (bm_atecc608_read_slot(chip, i, block) != BM_OK) {
                return BM_ERR_PORT;
            }
            if (bm_equal(block, wanted, BM_ATECC608_BLOCK_SIZE)) {
                continue;
            }
            if (round > 0 || bm_atecc608_write_slot(chip, i, wanted) != BM_OK) {
                return BM_ERR_PORT;
            }
        }
    }
    return BM_OK;
}

static const uint8_t *read_string(struct bm_reader *r, size_t *size)
{
    *size = bm_read(r, BM_BYTES);
    return bm_read_raw(r, *size);
}

int bm_installed_read_certificates(struct bm_atecc608 *chip, uint8_t slot[BM_ATECC608_SLOT_SIZE], struct bm_birth *birth)
{
    struct bm_reader r;
    size_t size = 0;

    do {
        if (bm_atecc608_read_slot(chip, (unsigned)size / BM_ATECC608_BLOCK_SIZE, slot + size) != BM_OK) {
            return BM_ERR_PORT;
        }
        size += BM_ATECC608_BLOCK_SIZE;
    } while (size < BM_ATECC608_SLOT_SIZE && slot[0] == ARRAY_OF_TWO); /* a slot without certificates costs one read */

    bm_read_start(&r, slot, size);
    bm_read_expect(&r, BM_ARRAY, 2);
    birth->order = read_string(&r, &birth->order_size);
    birth->unit = read_string(&r, &birth->unit_size);
    while (r.at < r.size && !r.bad) {
        bm_read_expect(&r, BM_UINT, 0); /* one zero byte */
    }
    if (bm_read_end(&r) != BM_OK || birth->order_size > BM_ORDER_CERTIFICATE_MAX ||
        birth->unit_size > BM_UNIT_CERTIFICATE_MAX) {
        birth->order_size = 0;
        birth->unit_size = 0;
    }
    return BM_OK;
}
