/* libbirthmark: the identity of a unit (docs/design.md, section "The unit").
 *
 * C99, freestanding, no heap, no globals; all memory is the caller's. Functions return BM_OK or one of enum bm_status
 * and leave their out-parameters empty after an error. Numbers in formats are big-endian. Formats: docs/formats.md;
 * the serial line: docs/wire.md. */
#ifndef BIRTHMARK_H
#define BIRTHMARK_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define BM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define BM_MUST_CHECK
#endif

/* Grows with every change that a program built before would not survive; the shared library's name ends in it. */
#define BM_ABI 0

#define BM_KEY_SIZE 64          /* P-256 public key, X then Y */
#define BM_COMPRESSED_SIZE 33   /* the same key, 02 or 03 and X */
#define BM_SIGNATURE_SIZE 64    /* ECDSA P-256, r then s */
#define BM_HASH_SIZE 32         /* SHA-256 */
#define BM_CHIP_SERIAL_SIZE 9   /* ATECC608: SN[0..8] */
#define BM_ANCHOR_SIZE 98       /* root's name 2, key 64, SHA-256 of the next root's key 32 */
#define BM_ROOT_NAME_SIZE 2     /* flags, epoch */
#define BM_ORDER_NAME_SIZE 4    /* flags, epoch, order number */
#define BM_UNIT_NAME_SIZE 8     /* EUI-64 */
#define BM_ORDER_CERTIFICATE_MAX 155
#define BM_UNIT_CERTIFICATE_MAX 135
#define BM_PEERS_MAX 8          /* products one image talks to */
#define BM_AES_KEY_SIZE 16
#define BM_AES_BLOCK_SIZE 16
/* ID_CRED_x by value, {25: [unit, order]}: heads 3 + 1 + 2 + 2 and the certificates. */
#define BM_ID_CRED_MAX (8 + BM_UNIT_CERTIFICATE_MAX + BM_ORDER_CERTIFICATE_MAX)

enum bm_status {
    BM_OK = 0,
    BM_ERR_STATE = -1,     /* not allowed now */
    BM_ERR_MALFORMED = -2, /* the bytes are not of the format */
    BM_ERR_SPACE = -3,     /* the caller's buffer is too small */
    BM_ERR_AUTH = -4,      /* a check of trust failed */
    BM_ERR_PORT = -5,      /* the chip, the flash or another port call failed */
    BM_ERR_UNKNOWN = -6,   /* a credential was named that this side does not have; EDHOC error 3, sent or received */
    BM_ERR_SUITE = -7,     /* the cipher suite is not the one to use; EDHOC error 2, sent or received */
    BM_ERR_PEER = -8       /* the peer gave up: EDHOC error 1 */
};

/* What an identity key may do, as in its certificate's keyUsage (RFC 5280, 4.2.1.3); never both. */
enum bm_key_usage { BM_DIGITAL_SIGNATURE = 1, BM_KEY_AGREEMENT = 16 };

/* Which of a unit's private keys ECDH uses. */
enum bm_own_key { BM_KEY_EPHEMERAL = 0, BM_KEY_IDENTITY = 1 };

/* How far a unit has come; the numbers are those of docs/wire.md, "Messages". */
enum bm_unit_state {
    BM_UNIT_BLANK = 0,     /* the chip's configuration or data zone is open */
    BM_UNIT_PREPARED = 1,  /* both locked, key made */
    BM_UNIT_INSTALLED = 2, /* certificates stored and good */
    BM_UNIT_SEALED = 3,    /* certificates locked */
    BM_UNIT_FOREIGN = 4    /* another configuration is locked */
};

/* What a firmware image is built with; `birthmark ca bundle --c` writes it. */
struct bm_image {
    uint8_t anchor_hash[BM_HASH_SIZE];   /* SHA-256 of the first anchor */
    uint8_t firmware_hash[BM_HASH_SIZE]; /* SHA-256 of the image, filled in by the start-up code */
    uint32_t product;                    /* what this unit is */
    uint32_t peers[BM_PEERS_MAX];        /* products that it accepts as peers */
    uint8_t peer_count;                  /* 1 to BM_PEERS_MAX */
};

/* What the library asks of the board. Every call returns BM_OK or BM_ERR_PORT, and the operation stops on the
 * latter; verify also returns BM_ERR_AUTH for a signature that does not hold. The flash calls serve trust and pairing,
 * the others the chip. One port holds one ephemeral key: handshakes that run at the same time have a port each. */
struct bm_port {
    void *user; /* handed to each call */
    int (*random)(void *user, uint8_t out[32]);
    /* The identity key's public half. */
    int (*public_key)(void *user, uint8_t key[BM_KEY_SIZE]);
    /* ECDSA by the identity key over a SHA-256 digest. */
    int (*sign)(void *user, const uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE]);
    int (*verify)(void *user, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                  const uint8_t signature[BM_SIGNATURE_SIZE]);
    /* Make a new ephemeral key, in place of the one before, and give its public half. */
    int (*ephemeral)(void *user, uint8_t key[BM_KEY_SIZE]);
    /* The x-coordinate of the point that one of the own keys has in common with a peer's, which is on the curve. own is one of
     * enum bm_own_key. */
    int (*ecdh)(void *user, int own, const uint8_t peer[BM_KEY_SIZE], uint8_t secret[32]);
    /* AES-128 of one block in place: bm_aes128, or what the part has in hardware. */
    int (*aes)(void *user, const uint8_t key[BM_AES_KEY_SIZE], uint8_t block[BM_AES_BLOCK_SIZE]);
    /* Flash of the microcontroller: BM_FLASH_PAGES pages of page_size bytes, one after the other, that erase to FF. It is read
     * where it lies, as memory; a part whose flash is on a bus keeps a copy of it there. Offsets and sizes of program are
     * multiples of BM_FLASH_UNIT; each unit is programmed once between erasures. Pages of 2,048 bytes hold what the formats
     * allow. */
    const uint8_t *flash;
    int (*flash_program)(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size);
    int (*flash_erase)(void *user, unsigned page);
    uint32_t page_size;
    uint8_t key_usage;      /* of the identity key, one of enum bm_key_usage */
    /* Calls of ecdh that an ephemeral key survives: 1 in an ATECC608 (DS40002112, 5.2.1.2), 255 = any number. */
    uint8_t ephemeral_uses;
};

/* What a unit shows of itself, as its slot 8 holds it: ID_CRED_x = {25: [unit, order]} (docs/formats.md). */
struct bm_identity {
    uint16_t id_size;  /* 0: nothing installed */
    uint16_t order_at; /* where the order's certificate begins in id */
    uint8_t unit_at;   /* where the unit's does */
    uint8_t unit_size;
    uint8_t order_size;
    uint8_t id[BM_ID_CRED_MAX];
};

/* What is put into a unit, and the key that its chip made. All memory is the caller's. */
struct bm_birth {
    const uint8_t *anchor; /* BM_ANCHOR_SIZE bytes */
    const uint8_t *order;  /* the order's certificate */
    size_t order_size;
    const uint8_t *unit; /* the unit's certificate */
    size_t unit_size;
    const uint8_t *key; /* BM_KEY_SIZE bytes, from port->public_key */
};

/* The checks of bm_trust, in this order; the numbers are those of docs/wire.md, status 6. */
enum bm_check {
    BM_CHECK_ANCHOR = 1,       /* not the one in the image */
    BM_CHECK_ORDER = 2,        /* certificate malformed or not of the profile */
    BM_CHECK_ORDER_ISSUER = 3, /* not the anchor's root */
    BM_CHECK_ORDER_SIGNATURE = 4,
    BM_CHECK_PRODUCT = 5,     /* the order builds another one */
    BM_CHECK_UNIT = 6,        /* certificate malformed or not of the profile */
    BM_CHECK_UNIT_ISSUER = 7, /* not the order */
    BM_CHECK_SERIAL = 8,      /* outside the order's range */
    BM_CHECK_KEY = 9,         /* not this chip's */
    BM_CHECK_UNIT_SIGNATURE = 10
};

/* Whether a unit with this image accepts what it is given at its birth: the order by the anchor that is given or, once that one is
 * stored, by it and the links behind it. Uses port->verify, and the flash if page_size is not 0. Returns BM_OK, BM_ERR_PORT when
 * either failed, or what does not hold, which is positive: the first of these checks, or BM_CHECK_CLOSED or BM_CHECK_REVOKED of
 * trust.h. */
BM_MUST_CHECK int bm_trust(const struct bm_port *port, const struct bm_image *image, const struct bm_birth *birth);

/* Software AES-128, encryption alone, for port.aes; user is not used. Always BM_OK. Its table makes its time depend on the
 * key where memory has a cache: BM_CONFIG_AES_TABLELESS is for such parts. */
BM_MUST_CHECK int bm_aes128(void *user, const uint8_t key[BM_AES_KEY_SIZE], uint8_t block[BM_AES_BLOCK_SIZE]);

#define BM_FLASH_UNIT 8u /* bytes: as many as an STM32G0 programs at once; a part that programs fewer takes several steps */
enum { BM_PAGE_TRUST = 0, BM_PAGE_STATE_A = 1, BM_PAGE_STATE_B = 2, BM_FLASH_PAGES = 3 };

/* BM_ABI of the library as it was built. A program that loads it compares its own. */
unsigned bm_abi(void);

#endif
