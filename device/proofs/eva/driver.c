#include "flash.h"
#include "port_atecc608.h"
#include "stubs.h"

extern size_t stored_state; /* stub_flash.c */

/* A bus that fails or brings any bytes, as many as there is room for. */
static int any_wake(void *user)
{
    (void)user;
    return any_status();
}

static int any_send(void *user, const uint8_t *group, size_t size)
{
    (void)user;
    use(group, size);
    return any_status();
}

static int any_receive(void *user, uint8_t *group, size_t size, unsigned milliseconds)
{
    (void)user, (void)milliseconds;
    return stub_output(group, size);
}

static void any_idle(void *user)
{
    (void)user;
}

static const struct bm_atecc608_bus bus = {NULL, any_wake, any_send, any_receive, any_idle};

static int any_random(void *user, uint8_t out[32])
{
    (void)user;
    return stub_output(out, 32);
}

/* Call number HI of the driver, to a chip with an IO protection key or without, over a flash that may have that key, or a record of
 * another size in its place. */
void call(void)
{
    const struct bm_port port = {.random = any_random};
    struct bm_atecc608 chip;
    uint8_t zone[BM_ATECC608_ZONE_SIZE], key[BM_KEY_SIZE], other[BM_KEY_SIZE], digest[BM_HASH_SIZE], signature[BM_SIGNATURE_SIZE];
    uint8_t serial[BM_CHIP_SERIAL_SIZE];
    enum bm_unit_state state;
    unsigned block = (unsigned)Frama_C_interval(0, BM_ATECC608_SLOT_SIZE / BM_ATECC608_BLOCK_SIZE - 1);
    int status;

    stored_state = Frama_C_interval(0, 1) ? BM_IO_KEY_SIZE : BM_IO_KEY_SIZE - 1;
    any(zone, sizeof zone);
    any(key, sizeof key);
    any(digest, sizeof digest);
    any(signature, sizeof signature);
    bm_atecc608_start(&chip, &bus);
    bm_atecc608_protect(&chip, Frama_C_interval(0, 1) ? &port : NULL);
    switch (HI) {
    case 0:
        status = bm_atecc608_ecdh(&chip, Frama_C_interval(BM_KEY_EPHEMERAL, BM_KEY_IDENTITY), key, digest);
        break;
    case 1:
        status = bm_atecc608_random(&chip, digest);
        break;
    case 2:
        status = bm_atecc608_public_key(&chip, key);
        break;
    case 3:
        status = bm_atecc608_sign(&chip, digest, signature);
        break;
    case 4:
        status = bm_atecc608_verify(&chip, key, digest, signature);
        break;
    case 5:
        status = bm_atecc608_ephemeral(&chip, key);
        break;
    case 6:
        status = bm_atecc608_zone(&chip, zone);
        bm_atecc608_serial(zone, serial);
        use(serial, sizeof serial);
        break;
    case 7:
        status = bm_atecc608_state(&chip, zone, &state, key);
        break;
    case 8:
        status = bm_atecc608_attest(&chip, digest, signature);
        break;
    case 9:
        status = bm_atecc608_read_slot(&chip, block, digest);
        break;
    case 10:
        status = bm_atecc608_write_slot(&chip, block, digest);
        break;
    case 11:
        status = bm_atecc608_lock_slot(&chip, digest);
        break;
    default:
        status = bm_atecc608_prepare(&chip, zone, key, other);
        break;
    }
    if (status == BM_OK) {
        ACCEPTED();
    }
}
