#include "installed.h"

#include "flash.h"
#include "internal.h"

/* What a filled slot begins with: {25: [ , 25 = c5c (draft-ietf-cose-cbor-encoded-cert-21, section 5). */
static const uint8_t beginning[] = {0xa1, 0x18, 0x19, 0x82};

const uint8_t *bm_installed_anchor(const struct bm_port *port)
{
    struct bm_record r;

    bm_flash_start(&r, port, BM_PAGE_TRUST);
    return bm_flash_next(&r) && r.kind == BM_RECORD_ANCHOR && r.size == BM_ANCHOR_SIZE ? r.payload : NULL;
}

int bm_installed_write_anchor(const struct bm_port *port, const uint8_t anchor[BM_ANCHOR_SIZE])
{
    const uint8_t *stored = bm_installed_anchor(port);

    if (stored != NULL && bm_equal(stored, anchor, BM_ANCHOR_SIZE)) {
        return BM_OK;
    }
    /* Nothing else is in the page before there is an anchor, so what it has is of an attempt that lost power, or of an image
     * that this unit no longer has. */
    if (port->flash_erase(port->user, BM_PAGE_TRUST) != BM_OK ||
        bm_flash_append(port, BM_PAGE_TRUST, BM_RECORD_ANCHOR, anchor, BM_ANCHOR_SIZE) != BM_OK) {
        return BM_ERR_PORT;
    }
    return BM_OK;
}

/* Block at of the slot as identity's id, with zeros behind it, has it. */
static void cut(const struct bm_identity *identity, size_t at, uint8_t block[BM_ATECC608_BLOCK_SIZE])
{
    for (size_t i = 0; i < BM_ATECC608_BLOCK_SIZE; i++, at++) {
        block[i] = at < BM_ID_CRED_MAX ? identity->id[at] : 0;
    }
}

/* 1 if these are the birth's certificates. */
static int holds(const struct bm_identity *identity, const struct bm_birth *birth)
{
    return identity->unit_size == birth->unit_size && identity->order_size == birth->order_size &&
           bm_equal(identity->id + identity->unit_at, birth->unit, birth->unit_size) &&
           bm_equal(identity->id + identity->order_at, birth->order, birth->order_size);
}

static int write_slot(struct bm_atecc608 *chip, const struct bm_identity *identity)
{
    uint8_t block[BM_ATECC608_BLOCK_SIZE];

    for (size_t at = 0; at < BM_ATECC608_SLOT_SIZE; at += BM_ATECC608_BLOCK_SIZE) {
        cut(identity, at, block);
        if (bm_atecc608_write_slot(chip, (unsigned)at / BM_ATECC608_BLOCK_SIZE, block) != BM_OK) {
            return BM_ERR_PORT;
        }
    }
    return BM_OK;
}

int bm_installed_write_certificates(struct bm_atecc608 *chip, const struct bm_birth *birth, struct bm_identity *identity)
{
    struct bm_writer w;

    if (!holds(identity, birth)) {
        bm_wipe(identity, sizeof *identity);
        bm_write_start(&w, identity->id, BM_ID_CRED_MAX);
        bm_write_raw(&w, beginning, sizeof beginning);
        bm_write_string(&w, BM_BYTES, birth->unit, birth->unit_size);
        bm_write_string(&w, BM_BYTES, birth->order, birth->order_size);
        if (write_slot(chip, identity) != BM_OK) {
            bm_wipe(identity, sizeof *identity);
            return BM_ERR_PORT;
        }
    }
    if (bm_installed_load(chip, identity) != BM_OK) {
        return BM_ERR_PORT;
    }
    if (!holds(identity, birth)) {
        bm_wipe(identity, sizeof *identity);
        return BM_ERR_PORT;
    }
    return BM_OK;
}

/* Where the content of the next byte string begins, which has at most max bytes. */
static size_t read_string(struct bm_reader *r, size_t max, uint8_t *size)
{
    uint32_t its = bm_read(r, BM_BYTES);
    size_t at = r->at;

    if (its > max) {
        r->bad = 1;
    }
    (void)bm_read_raw(r, its);
    *size = (uint8_t)its;
    return at;
}

/* Find the certificates in identity's id, of which zeros follow. BM_OK or BM_ERR_MALFORMED: identity is then wiped. */
static int parse(struct bm_identity *identity)
{
    struct bm_reader r;

    bm_read_start(&r, identity->id, BM_ID_CRED_MAX);
    (void)bm_read_raw(&r, sizeof beginning);
    identity->unit_at = (uint8_t)read_string(&r, BM_UNIT_CERTIFICATE_MAX, &identity->unit_size);
    identity->order_at = (uint16_t)read_string(&r, BM_ORDER_CERTIFICATE_MAX, &identity->order_size);
    identity->id_size = (uint16_t)r.at;
    while (r.at < r.size && !r.bad) {
        bm_read_expect(&r, BM_UINT, 0); /* one zero byte */
    }
    if (bm_read_end(&r) != BM_OK || !bm_equal(identity->id, beginning, sizeof beginning)) {
        bm_wipe(identity, sizeof *identity);
        return BM_ERR_MALFORMED;
    }
    return BM_OK;
}

int bm_installed_parse(struct bm_identity *identity, const uint8_t *id, size_t size)
{
    bm_wipe(identity, sizeof *identity);
    if (size > BM_ID_CRED_MAX) {
        return BM_ERR_MALFORMED;
    }
    bm_copy(identity->id, id, size);
    int status = parse(identity);
    if (status == BM_OK && identity->id_size != size) {
        bm_wipe(identity, sizeof *identity);
        status = BM_ERR_MALFORMED;
    }
    return status;
}

int bm_installed_load(struct bm_atecc608 *chip, struct bm_identity *identity)
{
    uint8_t block[BM_ATECC608_BLOCK_SIZE];
    uint8_t rest = 0; /* of the slot, behind the longest ID_CRED_x */

    bm_wipe(identity, sizeof *identity);
    for (size_t at = 0; at < BM_ATECC608_SLOT_SIZE; at += BM_ATECC608_BLOCK_SIZE) {
        if (bm_atecc608_read_slot(chip, (unsigned)at / BM_ATECC608_BLOCK_SIZE, block) != BM_OK) {
            bm_wipe(identity, sizeof *identity);
            return BM_ERR_PORT;
        }
        if (at == 0 && !bm_equal(block, beginning, sizeof beginning)) {
            return BM_OK; /* a slot without certificates costs one read */
        }
        for (size_t i = 0; i < BM_ATECC608_BLOCK_SIZE; i++) {
            if (at + i < BM_ID_CRED_MAX) {
                identity->id[at + i] = block[i];
            } else {
                rest |= block[i];
            }
        }
    }
    if (parse(identity) == BM_OK && rest != 0) {
        bm_wipe(identity, sizeof *identity);
    }
    return BM_OK;
}
