#include "port_atecc608.h"

#ifdef BM_CONFIG_IO_KEY
#include "flash.h"
#endif
#include "internal.h"

/* Opcodes and modes, named as the data sheet of the ATECC608A-TNGTLS (DS40002112) names them. */
enum {
    OP_READ = 0x02,
    OP_WRITE = 0x12,
    OP_NONCE = 0x16,
    OP_LOCK = 0x17,
    OP_RANDOM = 0x1B,
    OP_GENKEY = 0x40,
    OP_SIGN = 0x41,
    OP_ECDH = 0x43,
    OP_VERIFY = 0x45
};
enum {
    ZONE_CONFIG = 0x00,
    ZONE_DATA = 0x02,
    ZONE_BLOCK = 0x80, /* 32 bytes instead of 4 */
    NONCE_TEMPKEY = 0x03, /* pass-through of 32 bytes */
    NONCE_MSGDIGBUF = 0x43,
    SIGN_MSGDIGBUF = 0xA0, /* external message */
    SIGN_INTERNAL = 0x40, /* the message that the chip makes, with the whole serial number */
    VERIFY_MSGDIGBUF = 0x22, /* external key */
    CURVE_P256 = 0x0004,
    GENKEY_PUBLIC = 0x00,
    GENKEY_PRIVATE = 0x04,
    GENKEY_DIGEST = 0x08, /* as public, and a digest to TempKey */
    ECDH_TEMPKEY = 0x0D, /* source TempKey, output in clear */
    ECDH_ENCRYPTED = 0x0F,
    LOCK_CONFIG = 0x00,
    LOCK_DATA_NO_CRC = 0x81,
    LOCK_SLOT_8 = 0x02 | 8 << 2
};

/* Longest execution times in milliseconds at clock divider 0, which the policy below sets and the factory delivers. */
enum {
    MS_WAKE = 2,
    MS_READ = 5,
    MS_NONCE = 20,
    MS_RANDOM = 23,
    MS_LOCK = 35,
    MS_WRITE = 45,
    MS_ECDH = 75,
    MS_VERIFY = 105,
    MS_GENKEY = 115,
    MS_SIGN = 115
};

/* Status bytes; NO_ANSWER is ours, for silence and for groups that are none. */
enum {
    NO_ANSWER = -1,
    SUCCESS = 0x00,
    MISCOMPARE = 0x01,
    ECC_FAULT = 0x05,
    EXECUTION_ERROR = 0x0F,
    AFTER_WAKE = 0x11,
    WATCHDOG = 0xEE,
    CRC_ERROR = 0xFF
};

enum {
    TRIES = 3,
    HEAD_SIZE = 5, /* count, opcode, mode, param2 */
    CRC_SIZE = 2,
    STATUS_SIZE = 4,                                                   /* count, status, CRC */
    GROUP_MAX = HEAD_SIZE + BM_SIGNATURE_SIZE + BM_KEY_SIZE + CRC_SIZE, /* Verify */
    ANSWER_MAX = 1 + BM_KEY_SIZE + CRC_SIZE,
    WORD_SIZE = 4,
    BLOCK_SIZE = BM_ATECC608_BLOCK_SIZE,
    SLOT_IDENTITY = 0,
    SLOT_ATTESTATION = 1,
    SLOT_IO_KEY = 6,
    SLOT_CERTIFICATES = 8,
    TEMPKEY = 0xFFFF /* GenKey's place for an ephemeral key */
};

/* What is always the same of a command. */
struct command {
    uint8_t opcode;
    uint8_t mode;
    uint8_t milliseconds;
    uint8_t data_size;   /* bytes of each area of data */
    uint8_t answer_size; /* bytes of payload; 0: only a status is expected */
    uint8_t tries;
};

static const struct command after_wake = {.milliseconds = MS_WAKE};
static const struct command random = {OP_RANDOM, 0, MS_RANDOM, 0, 32, TRIES};
static const struct command message = {OP_NONCE, NONCE_MSGDIGBUF, MS_NONCE, BM_HASH_SIZE, 0, TRIES};
static const struct command nonce = {OP_NONCE, NONCE_TEMPKEY, MS_NONCE, BM_HASH_SIZE, 0, TRIES};
static const struct command key_digest = {OP_GENKEY, GENKEY_DIGEST, MS_GENKEY, 0, BM_KEY_SIZE, TRIES};
static const struct command sign_internal = {OP_SIGN, SIGN_INTERNAL, MS_SIGN, 0, BM_SIGNATURE_SIZE, TRIES};
static const struct command sign = {OP_SIGN, SIGN_MSGDIGBUF, MS_SIGN, 0, BM_SIGNATURE_SIZE, TRIES};
static const struct command verify = {OP_VERIFY, VERIFY_MSGDIGBUF, MS_VERIFY, BM_KEY_SIZE, 0, TRIES}; /* so has the signature */
static const struct command ecdh = {OP_ECDH, ECDH_TEMPKEY, MS_ECDH, BM_KEY_SIZE, 32, TRIES};
#ifdef BM_CONFIG_IO_KEY
enum { NONCE_SIZE = 32 }; /* what it is encrypted with, behind the secret */
static const struct command protected_ecdh = {OP_ECDH, ECDH_ENCRYPTED, MS_ECDH, BM_KEY_SIZE, 32 + NONCE_SIZE, TRIES};
#endif
static const struct command public_half = {OP_GENKEY, GENKEY_PUBLIC, MS_GENKEY, 0, BM_KEY_SIZE, TRIES};
static const struct command new_key = {OP_GENKEY, GENKEY_PRIVATE, MS_GENKEY, 0, BM_KEY_SIZE, 1};
/* Every try makes another key, and the one whose public half came back is the one that TempKey holds. */
static const struct command new_ephemeral = {OP_GENKEY, GENKEY_PRIVATE, MS_GENKEY, 0, BM_KEY_SIZE, TRIES};
static const struct command read_config = {OP_READ, ZONE_CONFIG | ZONE_BLOCK, MS_READ, 0, BLOCK_SIZE, TRIES};
static const struct command read_data = {OP_READ, ZONE_DATA | ZONE_BLOCK, MS_READ, 0, BLOCK_SIZE, TRIES};
/* The same bytes to the same place: sending them again does no harm. */
static const struct command write_word = {OP_WRITE, ZONE_CONFIG, MS_WRITE, WORD_SIZE, 0, TRIES};
static const struct command write_config = {OP_WRITE, ZONE_CONFIG | ZONE_BLOCK, MS_WRITE, BLOCK_SIZE, 0, TRIES};
static const struct command write_data = {OP_WRITE, ZONE_DATA | ZONE_BLOCK, MS_WRITE, BLOCK_SIZE, 0, TRIES};
static const struct command lock_config = {OP_LOCK, LOCK_CONFIG, MS_LOCK, 0, 0, 1};
static const struct command lock_data = {OP_LOCK, LOCK_DATA_NO_CRC, MS_LOCK, 0, 0, 1};
static const struct command lock_slot_8 = {OP_LOCK, LOCK_SLOT_8, MS_LOCK, 0, 0, 1};

/* A command, and what it is given and gives. */
struct request {
    const struct command *command;
    unsigned param2;
    const uint8_t *data[2]; /* areas; NULL: none */
    uint8_t *answer;
};

/* The payload of an answer. SUCCESS, the chip's status or NO_ANSWER. */
static int parse(const struct request *q, const uint8_t group[ANSWER_MAX])
{
    unsigned answer_size = q->command->answer_size;
    size_t size = group[0];

    if (size < STATUS_SIZE || size > ANSWER_MAX) {
        return NO_ANSWER;
    }
    uint16_t crc = bm_crc16(0, group, size - CRC_SIZE);
    if (group[size - 2] != (uint8_t)crc || group[size - 1] != crc >> 8) {
        return NO_ANSWER;
    }
    if (size == STATUS_SIZE && (answer_size == 0 || group[1] != SUCCESS)) {
        return group[1];
    }
    if (size != 1u + answer_size + CRC_SIZE) {
        return NO_ANSWER;
    }
    bm_copy(q->answer, group + 1, answer_size);
    return SUCCESS;
}

static int receive(struct bm_atecc608 *chip, const struct request *q)
{
    uint8_t group[ANSWER_MAX];
    int status = NO_ANSWER;

    if (chip->bus->receive(chip->bus->user, group, sizeof group, q->command->milliseconds) == BM_OK) {
        status = parse(q, group);
    }
    bm_wipe(group, sizeof group); /* it may hold ECDH's secret */
    return status;
}

static int exchange(struct bm_atecc608 *chip, const struct request *q)
{
    const struct command *c = q->command;
    uint8_t group[GROUP_MAX];
    size_t size = HEAD_SIZE;

    group[1] = c->opcode;
    group[2] = c->mode;
    group[3] = (uint8_t)q->param2;
    group[4] = (uint8_t)(q->param2 >> 8);
    for (unsigned i = 0; i < 2 && q->data[i] != NULL; i++) {
        bm_copy(group + size, q->data[i], c->data_size);
        size += c->data_size;
    }
    group[0] = (uint8_t)(size + CRC_SIZE);
    uint16_t crc = bm_crc16(0, group, size);
    group[size] = (uint8_t)crc;
    group[size + 1] = (uint8_t)(crc >> 8);
    int sent = chip->bus->send(chip->bus->user, group, size + CRC_SIZE);
#ifdef BM_CONFIG_IO_KEY
    bm_wipe(group, sizeof group); /* it may hold that key */
#endif
    return sent == BM_OK ? receive(chip, q) : NO_ANSWER;
}

static int wake(struct bm_atecc608 *chip)
{
    static const struct request answer = {.command = &after_wake};

    if (chip->bus->wake(chip->bus->user) != BM_OK) {
        return NO_ANSWER;
    }
    int status = receive(chip, &answer);
    return status == AFTER_WAKE ? SUCCESS : status == SUCCESS ? NO_ANSWER : status;
}

/* 1 for what another try may cure. AFTER_WAKE instead of an answer is a chip that lost its supply in the command. */
static int transient(int status)
{
    return status == NO_ANSWER || status == ECC_FAULT || status == AFTER_WAKE || status == WATCHDOG || status == CRC_ERROR;
}

/* Commands, the last of which works on what those before it left in the chip, in one wake period: what fails begins again with the
 * first, since a chip that lost its supply has also lost that. */
static int run(struct bm_atecc608 *chip, const struct request *q, unsigned count)
{
    unsigned tries = q->command->tries;
    int status;

    do {
        status = wake(chip);
        for (unsigned i = 0; status == SUCCESS && i < count; i++) {
            status = exchange(chip, q + i);
        }
        chip->bus->idle(chip->bus->user);
        tries--;
    } while (tries > 0 && transient(status));
    chip->status = status == NO_ANSWER ? 0 : (uint8_t)status;
    return status == SUCCESS ? BM_OK : BM_ERR_PORT;
}

/* A command by itself. */
static int command(struct bm_atecc608 *chip, const struct command *c, unsigned param2, const uint8_t *data, uint8_t *answer)
{
    const struct request q = {c, param2, {data}, answer};

    return run(chip, &q, 1);
}

void bm_atecc608_start(struct bm_atecc608 *chip, const struct bm_atecc608_bus *bus)
{
    chip->bus = bus;
    chip->status = 0;
}

int bm_atecc608_random(void *user, uint8_t out[32])
{
    int status = command(user, &random, 0, NULL, out);

    /* Until its configuration is locked the chip gives FF FF 00 00, repeated. */
    for (unsigned i = 0; status == BM_OK && i < 32; i++) {
        if (out[i] != (i & 2 ? 0x00 : 0xFF)) {
            return BM_OK;
        }
    }
    return BM_ERR_PORT;
}

/* The public half of a slot's key. A slot without a key gives EXECUTION_ERROR, and this is the only test for one: it
 * costs 115 ms where Info's would cost 5, but it needs no bit that the public data sheets leave unexplained. */
static int public_key(struct bm_atecc608 *chip, unsigned slot, uint8_t key[BM_KEY_SIZE])
{
    return command(chip, &public_half, slot, NULL, key);
}

int bm_atecc608_public_key(void *user, uint8_t key[BM_KEY_SIZE])
{
    return public_key(user, SLOT_IDENTITY, key);
}

int bm_atecc608_sign(void *user, const uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE])
{
    const struct request q[] = {{&message, 0, {digest}, NULL}, {&sign, SLOT_IDENTITY, {NULL}, signature}};

    return run(user, q, 2);
}

int bm_atecc608_attest(struct bm_atecc608 *chip, const uint8_t given[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE])
{
    const struct request q[] = {
        {&nonce, 0, {given}, NULL},
        {&key_digest, SLOT_IDENTITY, {NULL}, signature}, /* the key for now */
        {&sign_internal, SLOT_ATTESTATION, {NULL}, signature},
    };

    return run(chip, q, 3);
}

int bm_atecc608_verify(void *user, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                       const uint8_t signature[BM_SIGNATURE_SIZE])
{
    const struct request q[] = {{&message, 0, {digest}, NULL}, {&verify, CURVE_P256, {signature, key}, NULL}};
    struct bm_atecc608 *chip = user;

    int status = run(chip, q, 2);
    return status != BM_OK && chip->status == MISCOMPARE ? BM_ERR_AUTH : status;
}

int bm_atecc608_ephemeral(void *user, uint8_t key[BM_KEY_SIZE])
{
    return command(user, &new_ephemeral, TEMPKEY, NULL, key);
}

#ifdef BM_CONFIG_IO_KEY

void bm_atecc608_protect(struct bm_atecc608 *chip, const struct bm_port *port)
{
    chip->protecting = port;
}

/* The key that the chip's slot 6 has too, where it lies in flash; NULL if there is none. */
static const uint8_t *io_key(const struct bm_atecc608 *chip)
{
    struct bm_record r;

    return bm_flash_state(chip->protecting, BM_RECORD_IO_KEY, &r) && r.size == BM_IO_KEY_SIZE ? r.payload : NULL;
}

/* What ECDH gave: the secret, XORed with SHA-256 of the key and the first half of the nonce behind it. Not on ecdh_encrypted's stack,
 * below what the bus needs. */
static BM_NOINLINE void decrypt(const uint8_t key[BM_IO_KEY_SIZE], const uint8_t given[32 + NONCE_SIZE], uint8_t secret[32])
{
    uint8_t pad[BM_HASH_SIZE];
    struct bm_sha256 h;

    bm_sha256_init(&h);
    bm_sha256_update(&h, key, BM_IO_KEY_SIZE);
    bm_sha256_update(&h, given + 32, NONCE_SIZE / 2);
    bm_sha256_final(&h, pad);
    for (unsigned i = 0; i < 32; i++) {
        secret[i] = given[i] ^ pad[i];
    }
    bm_wipe(pad, sizeof pad);
}

static int ecdh_encrypted(struct bm_atecc608 *chip, const uint8_t peer[BM_KEY_SIZE], uint8_t secret[32])
{
    const uint8_t *key = io_key(chip);
    uint8_t given[32 + NONCE_SIZE];

    chip->status = 0;
    if (key == NULL || command(chip, &protected_ecdh, 0, peer, given) != BM_OK) {
        return BM_ERR_PORT;
    }
    decrypt(key, given, secret);
    return BM_OK;
}

/* Give slot 6 the key that the flash keeps. It is there first, and whole: a supply that fails leaves a chip that takes a key still, or
 * has one that the flash has too. On the bus it is in clear, as the chip takes no other before it is locked. */
static int write_io_key(struct bm_atecc608 *chip)
{
    const struct bm_port *port = chip->protecting;
    uint8_t key[BM_IO_KEY_SIZE];

    if (io_key(chip) == NULL) {
        if (port->random(port->user, key) != BM_OK) {
            return BM_ERR_PORT;
        }
        int status = bm_flash_replace(port, BM_RECORD_IO_KEY, key, sizeof key);
        bm_wipe(key, sizeof key);
        if (status != BM_OK) {
            return BM_ERR_SPACE;
        }
    }
    return command(chip, &write_data, SLOT_IO_KEY << 3, io_key(chip), NULL);
}

/* Whether slot 6 has the key of the flash, told by the one secret whose value is known: what a key has in common with the curve's
 * generator (SP 800-186, 3.2.1.3) is x of its own public half. */
static int check_io_key(struct bm_atecc608 *chip)
{
    static const uint8_t generator[BM_KEY_SIZE] = {
        0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
        0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
        0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
        0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
    uint8_t key[BM_KEY_SIZE];
    uint8_t *x = key + 32; /* over y, which is not asked for */

    if (io_key(chip) == NULL) {
        return BM_ERR_STATE;
    }
    for (unsigned tries = TRIES; tries > 0; tries--) {
        if (bm_atecc608_ephemeral(chip, key) != BM_OK) {
            return BM_ERR_PORT;
        }
        if (ecdh_encrypted(chip, generator, x) == BM_OK) {
            return bm_equal(x, key, 32) ? BM_OK : BM_ERR_STATE;
        }
        if (chip->status != EXECUTION_ERROR) { /* an answer to ECDH that was lost */
            return BM_ERR_PORT;
        }
    }
    return BM_ERR_PORT;
}

#endif

int bm_atecc608_ecdh(void *user, int own, const uint8_t peer[BM_KEY_SIZE], uint8_t secret[32])
{
    struct bm_atecc608 *chip = user;

    if (own != BM_KEY_EPHEMERAL) {
        chip->status = 0;
        return BM_ERR_PORT;
    }
#ifdef BM_CONFIG_IO_KEY
    if (chip->protecting != NULL) {
        return ecdh_encrypted(chip, peer, secret);
    }
#endif
    return command(chip, &ecdh, 0, peer, secret);
}

/* Data address: block in the high byte, slot in bits 3 to 6. */
static unsigned certificate_address(unsigned block)
{
    return block << 8 | SLOT_CERTIFICATES << 3;
}

int bm_atecc608_read_slot(struct bm_atecc608 *chip, unsigned block, uint8_t out[BM_ATECC608_BLOCK_SIZE])
{
    return command(chip, &read_data, certificate_address(block), NULL, out);
}

int bm_atecc608_write_slot(struct bm_atecc608 *chip, unsigned block, const uint8_t in[BM_ATECC608_BLOCK_SIZE])
{
    return command(chip, &write_data, certificate_address(block), in, NULL);
}

/* Configuration address: the number of the word. */
static unsigned configuration_address(unsigned at)
{
    return at / WORD_SIZE;
}

static int read_configuration(struct bm_atecc608 *chip, unsigned at, uint8_t block[BLOCK_SIZE])
{
    return command(chip, &read_config, configuration_address(at), NULL, block);
}

int bm_atecc608_zone(struct bm_atecc608 *chip, uint8_t zone[BM_ATECC608_ZONE_SIZE])
{
    for (unsigned at = 0; at < BM_ATECC608_ZONE_SIZE; at += BLOCK_SIZE) {
        if (read_configuration(chip, at, zone + at) != BM_OK) {
            return BM_ERR_PORT;
        }
    }
    return BM_OK;
}

void bm_atecc608_serial(const uint8_t zone[BM_ATECC608_ZONE_SIZE], uint8_t serial[BM_CHIP_SERIAL_SIZE])
{
    bm_copy(serial, zone, 4);
    bm_copy(serial + 4, zone + 8, BM_CHIP_SERIAL_SIZE - 4);
}

/* Offsets in the configuration zone (DS40002112, table 2-3). */
enum {
    AT_I2C_ADDRESS = 16, /* the first that Write takes: what lies before is the manufacturer's */
    AT_SLOT_CONFIG = 20,
    AT_COUNTERS = 52,
    AT_USE_LOCK = 68,
    AT_KDF_IV = 72,
    AT_USER_EXTRA = 84, /* the one word that Write refuses */
    AT_LOCKS_BLOCK = 64,
    AT_LOCK_VALUE = 86,
    AT_LOCK_CONFIG = 87,
    AT_SLOT_8_LOCK = 89, /* bit 0; 0 means locked */
    AT_CHIP_OPTIONS = 90,
    AT_KEY_CONFIG = 96
};

/* The policy of every unit's chip, low bytes first. SlotConfig: bit 0 external sign, bit 1 internal
 * sign, bit 7 secret, bits 12 to 15 WriteConfig: 0 always and 8 never, as public configurations have them. KeyConfig: bit
 * 0 private, bit 1 public half on request, bits 2 to 4 type (4 P-256, 7 data), bit 5 lockable, bit 6 wants a random nonce.
 *
 *   0  identity      signs what it is given; WriteConfig has no GenKey bit: no new key after the data lock
 *   1  attestation   signs only what the chip itself puts together
 *   6  IO key        of a protected chip, written before the data lock
 *   8  certificates  readable by all, writable until the slot is locked
 *
 * The other slots are unused and never written. ChipMode 0 is the short watchdog and the fast clock; ChipOptions 0, no IO
 * protection, but for a protected chip. UseLock, VolatileKeyPermission, SecureBoot and X509format stay zero. */
static const uint8_t policy[BM_ATECC608_ZONE_SIZE] = {
    [AT_I2C_ADDRESS] = 0xC0,
    [AT_SLOT_CONFIG] = 0x81, 0x00, 0x82, 0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x00, 0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    [AT_KEY_CONFIG] = 0x13, 0x00, 0x13, 0x00, 0x1C, 0x00, 0x1C, 0x00, 0x1C, 0x00, 0x1C, 0x00, 0x7C, 0x00, 0x1C, 0x00,
    0x3C, 0x00, 0x1C, 0x00, 0x1C, 0x00, 0x1C, 0x00, 0x1C, 0x00, 0x1C, 0x00, 0x1C, 0x00, 0x1C, 0x00,
};

/* 1 if the policy decides this byte. Not its own are the manufacturer's bytes, the counters, the parameters of a KDF
 * that no slot allows, and the locks. */
static int decided(unsigned at)
{
    return (at >= AT_I2C_ADDRESS && at < AT_COUNTERS) || (at >= AT_USE_LOCK && at < AT_KDF_IV) || at >= AT_CHIP_OPTIONS;
}

#ifdef BM_CONFIG_IO_KEY
/* ChipOptions: bit 1 there is an IO protection key, bits 8 and 9 ECDHPROT 1 nothing leaves ECDH but encrypted by it, bits 12 to 15
 * its slot. */
unsigned bm_atecc608_options(const struct bm_atecc608 *chip)
{
    return chip->protecting != NULL ? 0x0002 | 1 << 8 | SLOT_IO_KEY << 12 : 0x0000;
}

/* What a byte that the policy decides is to be in this chip. */
static BM_NOINLINE uint8_t wanted(const struct bm_atecc608 *chip, unsigned at)
{
    unsigned options = bm_atecc608_options(chip);

    switch (at) {
    case AT_CHIP_OPTIONS:
        return (uint8_t)options;
    case AT_CHIP_OPTIONS + 1:
        return (uint8_t)(options >> 8);
    default:
        return policy[at];
    }
}

#else

static uint8_t wanted(const struct bm_atecc608 *chip, unsigned at)
{
    (void)chip;
    return policy[at];
}

#endif

static int holds_policy(const struct bm_atecc608 *chip, const uint8_t zone[BM_ATECC608_ZONE_SIZE])
{
    for (unsigned at = 0; at < BM_ATECC608_ZONE_SIZE; at++) {
        if (decided(at) && zone[at] != wanted(chip, at)) {
            return 0;
        }
    }
    return 1;
}

/* Write what differs: blocks 1 and 3 whole, the others word by word, as they have bytes that Write refuses. */
static int write_policy(struct bm_atecc608 *chip, const uint8_t zone[BM_ATECC608_ZONE_SIZE])
{
    uint8_t bytes[BLOCK_SIZE];
    unsigned size;

    for (unsigned at = AT_I2C_ADDRESS; at < BM_ATECC608_ZONE_SIZE; at += size) {
        size = at == 1 * BLOCK_SIZE || at == 3 * BLOCK_SIZE ? BLOCK_SIZE : WORD_SIZE;
        for (unsigned i = 0; i < size; i++) {
            bytes[i] = decided(at + i) ? wanted(chip, at + i) : zone[at + i];
        }
        const struct command *write = size == BLOCK_SIZE ? &write_config : &write_word;
        if (!bm_equal(bytes, zone + at, size) && command(chip, write, configuration_address(at), bytes, NULL) != BM_OK) {
            return BM_ERR_PORT;
        }
    }
    return BM_OK;
}

/* Lock, and believe only the byte that says so: neither a lost answer nor a good one proves anything. The lock is closed
 * when bit 0 is 0 at the offset: 55 is open and 00 closed, and slot 8 has this bit. block is then that of the zone with all locks. */
static int lock(struct bm_atecc608 *chip, const struct command *c, unsigned crc, unsigned at, uint8_t block[BLOCK_SIZE])
{
    for (unsigned tries = TRIES; tries > 0; tries--) {
        (void)command(chip, c, crc, NULL, NULL);
        uint8_t said = chip->status;
        if (read_configuration(chip, AT_LOCKS_BLOCK, block) != BM_OK) {
            return BM_ERR_PORT;
        }
        if ((block[at - AT_LOCKS_BLOCK] & 1) == 0) {
            return BM_OK;
        }
        chip->status = said;
    }
    return BM_ERR_PORT;
}

int bm_atecc608_lock_slot(struct bm_atecc608 *chip, uint8_t block[BM_ATECC608_BLOCK_SIZE])
{
    return lock(chip, &lock_slot_8, 0, AT_SLOT_8_LOCK, block);
}

/* Make a slot's key unless it has one; key is its public half. A lost answer is followed by another look, never by another key. A
 * slot that is known to be empty, as before the lock of the configuration, is not looked at first: that takes as long as the key. */
static int make_key(struct bm_atecc608 *chip, unsigned slot, int empty, uint8_t key[BM_KEY_SIZE])
{
    for (unsigned tries = TRIES; tries > 0; tries--, empty = 0) {
        if (!empty) {
            if (public_key(chip, slot, key) == BM_OK) {
                return BM_OK;
            }
            if (chip->status != EXECUTION_ERROR) {
                return BM_ERR_PORT;
            }
        }
        if (command(chip, &new_key, slot, NULL, key) == BM_OK) {
            return BM_OK;
        }
    }
    return BM_ERR_PORT;
}

static int lock_policy(struct bm_atecc608 *chip, uint8_t zone[BM_ATECC608_ZONE_SIZE])
{
    if (write_policy(chip, zone) != BM_OK || bm_atecc608_zone(chip, zone) != BM_OK) {
        return BM_ERR_PORT;
    }
    if (!holds_policy(chip, zone)) {
        return BM_ERR_PORT;
    }
    /* With the CRC the chip compares all 128 bytes once more, at the moment of locking. */
    return lock(chip, &lock_config, bm_crc16(0, zone, BM_ATECC608_ZONE_SIZE), AT_LOCK_CONFIG, zone + AT_LOCKS_BLOCK);
}

int bm_atecc608_prepare(struct bm_atecc608 *chip, uint8_t zone[BM_ATECC608_ZONE_SIZE], uint8_t key[BM_KEY_SIZE],
                        uint8_t attestation[BM_KEY_SIZE])
{
    if (bm_atecc608_zone(chip, zone) != BM_OK) {
        return BM_ERR_PORT;
    }
    int open = zone[AT_LOCK_CONFIG] != 0;
    if (open && lock_policy(chip, zone) != BM_OK) {
        return BM_ERR_PORT;
    }
    if (!holds_policy(chip, zone)) {
        return BM_ERR_STATE;
    }
    /* In this order, so that the second key stays. */
    if (make_key(chip, SLOT_IDENTITY, open, key) != BM_OK || make_key(chip, SLOT_ATTESTATION, open, attestation) != BM_OK) {
        return BM_ERR_PORT;
    }
#ifdef BM_CONFIG_IO_KEY
    if (chip->protecting != NULL && zone[AT_LOCK_VALUE] != 0) {
        int status = write_io_key(chip);
        if (status != BM_OK) {
            return status;
        }
    }
#endif
    /* Without a CRC: it would cover slots that were never written, whose contents nobody outside knows. */
    if (zone[AT_LOCK_VALUE] != 0 && lock(chip, &lock_data, 0, AT_LOCK_VALUE, zone + AT_LOCKS_BLOCK) != BM_OK) {
        return BM_ERR_PORT;
    }
#ifdef BM_CONFIG_IO_KEY
    if (chip->protecting != NULL) {
        return check_io_key(chip);
    }
#endif
    return BM_OK;
}

int bm_atecc608_state(struct bm_atecc608 *chip, const uint8_t zone[BM_ATECC608_ZONE_SIZE], enum bm_unit_state *state,
                      uint8_t key[BM_KEY_SIZE])
{
    *state = BM_UNIT_BLANK;
    if (zone[AT_LOCK_CONFIG] != 0) {
        return BM_OK;
    }
    if (!holds_policy(chip, zone)) {
        *state = BM_UNIT_FOREIGN;
        return BM_OK;
    }
    if (zone[AT_LOCK_VALUE] != 0) {
        return BM_OK;
    }
    if (bm_atecc608_public_key(chip, key) != BM_OK) {
        /* Both zones locked around an empty slot: no key will ever be made there, and prepare says so. */
        return chip->status == EXECUTION_ERROR ? BM_OK : BM_ERR_PORT;
    }
    *state = (zone[AT_SLOT_8_LOCK] & 1) == 0 ? BM_UNIT_SEALED : BM_UNIT_PREPARED;
    return BM_OK;
}
