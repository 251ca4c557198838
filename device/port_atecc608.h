/* The ATECC608 as a unit's chip: the calls of struct bm_port, and what the production line does to it once.
 *
 * The driver takes the chip over a bus of four calls, which fit I2C, single wire and a kit's text lines. It wakes the
 * chip for each operation and idles it afterwards, so no operation meets the watchdog's 0.7 s and TempKey is kept
 * between operations. What the bus loses or garbles is sent again, three times in all, except for Lock and
 * GenKey: there the driver looks at the chip instead, since a lost answer may stand for a finished command. */
#ifndef BM_PORT_ATECC608_H
#define BM_PORT_ATECC608_H

#include "birthmark.h"

/* The bus, without its word addresses or flags: groups go from count to CRC. Calls return BM_OK or BM_ERR_PORT. */
struct bm_atecc608_bus {
    void *user; /* handed to each call */
    /* The wake token and the pause after it, 1.5 ms. The answer 04 11 33 43 is asked for with receive. */
    int (*wake)(void *user);
    int (*send)(void *user, const uint8_t *group, size_t size);
    /* One answer, group[0] bytes of it and at most size, if it begins within so many milliseconds. */
    int (*receive)(void *user, uint8_t *group, size_t size, unsigned milliseconds);
    /* Idle keeps the chip's volatile state, sleep would not. Whether it came through shows at the next wake. */
    void (*idle)(void *user);
};

struct bm_atecc608 {
    const struct bm_atecc608_bus *bus;
#ifdef BM_CONFIG_IO_KEY
    const struct bm_port *protecting; /* whose flash has the IO protection key; NULL: the chip has none */
#endif
    uint8_t status; /* after BM_ERR_PORT: the chip's status byte; 0 = no answer, or one that no command gives */
};

#define BM_ATECC608_ZONE_SIZE 128 /* configuration zone */
#define BM_ATECC608_SLOT_SIZE 416 /* slot 8, the certificates */
#define BM_ATECC608_BLOCK_SIZE 32

/* What the configuration zone tells beside the policies. */
enum {
    BM_ATECC608_AT_REVISION = 4, /* 4 bytes */
    BM_ATECC608_AT_LOCKS = 86    /* LockValue, LockConfig, SlotLocked low byte first: 4 bytes */
};

void bm_atecc608_start(struct bm_atecc608 *chip, const struct bm_atecc608_bus *bus);

#ifdef BM_CONFIG_IO_KEY
/* Behind start, in a product whose chips encrypt what ECDH gives: with a key of their own, which prepare makes by port->random and
 * keeps in port's flash. The port outlives the chip. Who listens on the bus from prepare on learns no shared secret then; who
 * listened at prepare, or reads the flash, does. It is in the chip's configuration for ever: a chip that was prepared
 * without is BM_UNIT_FOREIGN here, and the other way round. */
void bm_atecc608_protect(struct bm_atecc608 *chip, const struct bm_port *port);
/* ChipOptions as prepare locks them, 0 without protection. */
unsigned bm_atecc608_options(const struct bm_atecc608 *chip);
#endif

/* The calls of struct bm_port; user is the struct bm_atecc608, or a struct that begins with one. Signing and
 * verifying leave TempKey alone: digests go to MsgDigBuf, and the Initiator's ephemeral key stays where it is. All
 * return BM_OK or BM_ERR_PORT, verify BM_ERR_AUTH too. random refuses the constant that an unlocked chip gives;
 * public_key and sign work on slot 0, and without a key there public_key leaves status 0F. */
BM_MUST_CHECK int bm_atecc608_random(void *user, uint8_t out[32]);
BM_MUST_CHECK int bm_atecc608_public_key(void *user, uint8_t key[BM_KEY_SIZE]);
BM_MUST_CHECK int bm_atecc608_sign(void *user, const uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE]);
BM_MUST_CHECK int bm_atecc608_verify(void *user, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                                     const uint8_t signature[BM_SIGNATURE_SIZE]);

/* The ephemeral key lies in TempKey, which idle keeps and power loss, sleep and watchdog clear, and one ECDH uses it up
 * (DS40002112, 5.2.1.2): ephemeral_uses is 1. The secret crosses the bus in clear, unless the chip is protected. BM_OK or
 * BM_ERR_PORT. Status 0F of ecdh: TempKey holds no key any more, as after an answer that was lost, and only a new handshake goes
 * on; 03: peer is not on the curve. The policy lets no slot do ECDH, so that own is BM_KEY_EPHEMERAL or BM_ERR_PORT is returned.
 * ecdh wants the data zone locked. */
BM_MUST_CHECK int bm_atecc608_ephemeral(void *user, uint8_t key[BM_KEY_SIZE]);
BM_MUST_CHECK int bm_atecc608_ecdh(void *user, int own, const uint8_t peer[BM_KEY_SIZE], uint8_t secret[32]);

/* The configuration zone as it is now. */
BM_MUST_CHECK int bm_atecc608_zone(struct bm_atecc608 *chip, uint8_t zone[BM_ATECC608_ZONE_SIZE]);
/* The nine bytes that no two chips share, SN[0..8] of a zone. */
void bm_atecc608_serial(const uint8_t zone[BM_ATECC608_ZONE_SIZE], uint8_t serial[BM_CHIP_SERIAL_SIZE]);
/* How far the chip has come, from its zone and, once both zones are locked, from whether slot 0 has a key, which is then in key.
 * Never BM_UNIT_INSTALLED: what the certificates are worth is not the driver's to say. */
BM_MUST_CHECK int bm_atecc608_state(struct bm_atecc608 *chip, const uint8_t zone[BM_ATECC608_ZONE_SIZE],
                                    enum bm_unit_state *state, uint8_t key[BM_KEY_SIZE]);
/* Write and lock the configuration, make the keys of slots 0 and 1, lock the data zone, each unless it is already so;
 * zone is the result, key and attestation the public halves of slots 0 and 1. BM_ERR_STATE if another configuration is locked, or
 * another IO protection key than the flash has, which nothing can change. After BM_ERR_PORT, and BM_ERR_SPACE if the flash did not
 * keep that key, the chip stands somewhere on this way and a repeat goes on from there. */
BM_MUST_CHECK int bm_atecc608_prepare(struct bm_atecc608 *chip, uint8_t zone[BM_ATECC608_ZONE_SIZE], uint8_t key[BM_KEY_SIZE],
                                      uint8_t attestation[BM_KEY_SIZE]);
/* Slot 1's signature over the chip's own statement that it holds the key of slot 0 under its configuration, bound to a nonce
 * (docs/formats.md, "Attestation"). Wants the data zone locked; what was in TempKey is lost. BM_OK or BM_ERR_PORT. */
BM_MUST_CHECK int bm_atecc608_attest(struct bm_atecc608 *chip, const uint8_t nonce[BM_HASH_SIZE],
                                     uint8_t signature[BM_SIGNATURE_SIZE]);

/* Slot 8 in its 13 blocks; readable and writable once the data zone is locked, until the slot is. */
BM_MUST_CHECK int bm_atecc608_read_slot(struct bm_atecc608 *chip, unsigned block, uint8_t out[BM_ATECC608_BLOCK_SIZE]);
BM_MUST_CHECK int bm_atecc608_write_slot(struct bm_atecc608 *chip, unsigned block, const uint8_t in[BM_ATECC608_BLOCK_SIZE]);
/* Lock slot 8 for ever; BM_OK only if the lock byte says so afterwards; block is then the zone's with all locks, its third. */
BM_MUST_CHECK int bm_atecc608_lock_slot(struct bm_atecc608 *chip, uint8_t block[BM_ATECC608_BLOCK_SIZE]);

#endif
