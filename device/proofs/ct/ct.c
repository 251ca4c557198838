/* Constant time: secrets are marked undefined, and valgrind's memcheck reports every branch and every address that depends on
 * one. What may be known is declassified where it becomes known, by the wrappers below. usage: ct CASE */
#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "flash.h"
#include "internal.h"
#include "port_atecc608.h"
#include "session.h"

static void secret(void *area, size_t size)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(area, size);
}

static void declassify(void *area, size_t size)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(area, size);
}

/* The linker gives these the library's calls from one file to another (--wrap). */

int __real_bm_equal(const uint8_t *a, const uint8_t *b, size_t size);
int __wrap_bm_equal(const uint8_t *a, const uint8_t *b, size_t size);
uint16_t __real_bm_crc16(uint16_t crc, const uint8_t *bytes, size_t size);
uint16_t __wrap_bm_crc16(uint16_t crc, const uint8_t *bytes, size_t size);
int __real_bm_ccm(const struct bm_port *port, const uint8_t *key, const uint8_t *aad, size_t aad_size, uint8_t *text, size_t size,
                  size_t tag_size, unsigned open);
int __wrap_bm_ccm(const struct bm_port *port, const uint8_t *key, const uint8_t *aad, size_t aad_size, uint8_t *text, size_t size,
                  size_t tag_size, unsigned open);
void __real_bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t *prk, uint32_t label, const struct bm_part *context,
                               unsigned count, uint8_t keep);
void __wrap_bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t *prk, uint32_t label, const struct bm_part *context,
                               unsigned count, uint8_t keep);

/* Whether two things are the same is told to whoever asks. */
int __wrap_bm_equal(const uint8_t *a, const uint8_t *b, size_t size)
{
    int same = __real_bm_equal(a, b, size);

    declassify(&same, sizeof same);
    return same;
}

/* A CRC stands beside what it is of, and says whether that is whole. */
uint16_t __wrap_bm_crc16(uint16_t crc, const uint8_t *bytes, size_t size)
{
    crc = __real_bm_crc16(crc, bytes, size);
    declassify(&crc, sizeof crc);
    return crc;
}

/* A ciphertext is public; a plaintext of EDHOC is a message between the two, whose form may steer its reader. */
int __wrap_bm_ccm(const struct bm_port *port, const uint8_t *key, const uint8_t *aad, size_t aad_size, uint8_t *text, size_t size,
                  size_t tag_size, unsigned open)
{
    int status = __real_bm_ccm(port, key, aad, aad_size, text, size, tag_size, open);

    declassify(&status, sizeof status);
    declassify(text, size + tag_size);
    return status;
}

/* The same of message_2, which is masked. */
void __wrap_bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t *prk, uint32_t label, const struct bm_part *context,
                               unsigned count, uint8_t keep)
{
    __real_bm_edhoc_kdf_parts(out, size, prk, label, context, count, keep);
    if (keep != 0) {
        declassify(out, size);
    }
}

/* A chip: all have one secret in common. */

static const uint8_t base_point[BM_KEY_SIZE] = {
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
};

static int chip_ephemeral(void *user, uint8_t key[BM_KEY_SIZE])
{
    (void)user;
    memcpy(key, base_point, BM_KEY_SIZE);
    return BM_OK;
}

static int chip_ecdh(void *user, int own, const uint8_t peer[BM_KEY_SIZE], uint8_t out[32])
{
    (void)user, (void)own, (void)peer;
    for (unsigned i = 0; i < 32; i++) {
        out[i] = (uint8_t)(7 * i + 1);
    }
    secret(out, 32);
    return BM_OK;
}

static int chip_sign(void *user, const uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE])
{
    (void)user, (void)digest;
    for (unsigned i = 0; i < BM_SIGNATURE_SIZE; i++) {
        signature[i] = (uint8_t)i;
    }
    return BM_OK;
}

static int chip_verify(void *user, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                       const uint8_t signature[BM_SIGNATURE_SIZE])
{
    (void)user, (void)key, (void)digest, (void)signature;
    return BM_OK;
}

static struct bm_port chip(int key_usage)
{
    return (struct bm_port){.ephemeral = chip_ephemeral,
                            .ecdh = chip_ecdh,
                            .sign = chip_sign,
                            .verify = chip_verify,
                            .aes = bm_aes128,
                            .key_usage = (uint8_t)key_usage,
                            .ephemeral_uses = 255};
}

/* Cases: 0 is good, anything else a mistake in the harness. */

/* A planted leak: memcheck must see it. */
static int leak(void)
{
    uint8_t key[16] = {1};
    unsigned same = 0;

    secret(key, sizeof key);
    while (same < sizeof key && key[same] == 0) {
        same++;
    }
    declassify(&same, sizeof same);
    return same == sizeof key;
}

static int equal(void)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};

    secret(a, sizeof a);
    int same = __real_bm_equal(a, b, sizeof a);
    declassify(&same, sizeof same);
    return !same;
}

static int sha256(void)
{
    uint8_t text[150] = {0};
    uint8_t digest[BM_HASH_SIZE];

    secret(text, sizeof text);
    bm_sha256(digest, text, sizeof text);
    return 0;
}

/* HMAC and HKDF */
static int kdf(void)
{
    uint8_t prk[BM_PRK_SIZE] = {0};
    uint8_t context[32] = {0};
    uint8_t out[100];

    secret(prk, sizeof prk);
    secret(context, sizeof context);
    bm_edhoc_kdf(out, sizeof out, prk, 1, context, sizeof context);
    return 0;
}

static int aes(void)
{
    uint8_t key[BM_AES_KEY_SIZE] = {0};
    uint8_t block[BM_AES_BLOCK_SIZE] = {0};

    secret(key, sizeof key);
    secret(block, sizeof block);
    return bm_aes128(NULL, key, block);
}

/* Good and bad tags, both tag sizes. */
static int ccm(void)
{
    struct bm_port port = chip(BM_DIGITAL_SIGNATURE);

    for (size_t tag = 8; tag <= 16; tag += 8) {
        for (unsigned bad = 0; bad < 2; bad++) {
            uint8_t key[BM_CCM_KEY_SIZE] = {0};
            uint8_t text[40 + 16] = {0};
            secret(key, sizeof key);
            secret(text, sizeof text);
            if (__real_bm_ccm(&port, key, (const uint8_t *)"aad", 3, text, 40, tag, 0) != BM_OK) {
                return 1;
            }
            text[40] ^= (uint8_t)bad;
            int status = __wrap_bm_ccm(&port, key, (const uint8_t *)"aad", 3, text, 40, tag, 1);
            if (status != (bad ? BM_ERR_AUTH : BM_OK)) {
                return 1;
            }
        }
    }
    return 0;
}

/* One side of a handshake. */
struct side {
    struct bm_port port;
    struct bm_edhoc_config config;
    struct bm_edhoc edhoc;
    uint8_t id;
    uint8_t cred[100];
    const struct side *other;
};

static int resolve(void *user, unsigned attempt, const uint8_t *id, size_t id_size, struct bm_peer *peer)
{
    const struct side *other = ((const struct side *)user)->other;

    if (attempt > 0 || id_size != 1 || *id != other->id) {
        return BM_ERR_AUTH;
    }
    peer->cred = other->cred;
    peer->cred_size = sizeof other->cred;
    memcpy(peer->key, base_point, BM_KEY_SIZE);
    return BM_OK;
}

static int start(struct side *s, const struct side *other, int role, unsigned method, const uint8_t *suites)
{
    static const uint8_t connection = 0x05;
    unsigned is_static = role == BM_INITIATOR ? method >> 1 : method & 1;

    s->port = chip(is_static ? BM_KEY_AGREEMENT : BM_DIGITAL_SIGNATURE);
    s->id = (uint8_t)(1 + role);
    memset(s->cred, 0x40 + role, sizeof s->cred);
    s->other = other;
    s->config = (struct bm_edhoc_config){.port = &s->port,
                                         .resolve = resolve,
                                         .user = s,
                                         .own = {&s->id, 1, s->cred, sizeof s->cred},
                                         .suites = suites,
                                         .suite_count = 1,
                                         .methods = (uint8_t)(1u << method),
                                         .connection = &connection,
                                         .connection_size = 1};
    return bm_edhoc_start(&s->edhoc, &s->config, role);
}

static int handshake(struct side s[2], unsigned method, const uint8_t *suites)
{
    uint8_t message[300];
    size_t size;

    if (start(&s[0], &s[1], BM_INITIATOR, method, suites) != BM_OK || start(&s[1], &s[0], BM_RESPONDER, method, suites) != BM_OK) {
        return 1;
    }
    for (unsigned n = 0; n < 4; n++) {
        if (bm_edhoc_write(&s[n & 1].edhoc, message, sizeof message, &size) != BM_OK) {
            return 2;
        }
        if (VALGRIND_CHECK_MEM_IS_DEFINED(message, size) != 0) {
            return 3; /* something secret would go out in the clear */
        }
        if (bm_edhoc_read(&s[1 - (n & 1)].edhoc, message, size) != BM_OK) {
            return 4;
        }
    }
    return 0;
}

/* All messages, both roles, methods and suites; a message whose tag or MAC does not hold; exporter and key update. */
static int edhoc(void)
{
    static const uint8_t suites[] = {2, 3};
    struct side s[2];
    uint8_t out[40];

    for (unsigned method = 0; method < 4; method++) {
        for (unsigned suite = 0; suite < sizeof suites; suite++) {
            if (handshake(s, method, suites + suite) != 0 ||
                bm_edhoc_export(&s[0].edhoc, 1, base_point, 8, out, sizeof out) != BM_OK ||
                bm_edhoc_key_update(&s[0].edhoc, base_point, 8) != BM_OK) {
                return 1;
            }
        }
    }
    return 0;
}

/* A record each way, the next generation, and a bad tag. */
static int session(void)
{
    static const uint8_t suite = 2;
    struct bm_port port = chip(BM_DIGITAL_SIGNATURE);
    struct bm_session ends[2];
    struct side s[2];
    uint8_t record[60] = {0};
    size_t size;

    if (handshake(s, 0, &suite) != 0 || bm_session_start(&ends[0], &s[0].edhoc) != BM_OK ||
        bm_session_start(&ends[1], &s[1].edhoc) != BM_OK) {
        return 1;
    }
    for (unsigned n = 0; n < 6; n++) {
        struct bm_session *from = &ends[n & 1];
        struct bm_session *to = &ends[1 - (n & 1)];
        if (n == 2 && bm_session_update(from) != BM_OK) {
            return 2;
        }
        secret(record, sizeof record);
        if (bm_session_seal(from, &port, record, sizeof record, 40, &size) != BM_OK) {
            return 3;
        }
        record[size - 1] ^= n > 3;
        if (bm_session_open(to, &port, record, size, &size) != (n > 3 ? BM_ERR_AUTH : BM_OK)) {
            return 4;
        }
    }
    bm_session_wipe(&ends[0]);
    return 0;
}

/* The bus of a chip that answers a wake token, and then ECDH. */

static int bus_wake(void *user)
{
    *(unsigned *)user = 4; /* bytes of the next answer */
    return BM_OK;
}

static int bus_send(void *user, const uint8_t *group, size_t size)
{
    (void)group, (void)size;
    *(unsigned *)user = 67;
    return BM_OK;
}

static int bus_receive(void *user, uint8_t *group, size_t size, unsigned milliseconds)
{
    unsigned count = *(unsigned *)user;

    (void)milliseconds;
    if (count > size) {
        return BM_ERR_PORT;
    }
    memset(group, 0x11, count);
    group[0] = (uint8_t)count;
    uint16_t crc = bm_crc16(0, group, count - 2);
    group[count - 2] = (uint8_t)crc;
    group[count - 1] = (uint8_t)(crc >> 8);
    return BM_OK;
}

static void bus_idle(void *user)
{
    (void)user;
}

enum { PAGE_SIZE = 512 };

static int program(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size)
{
    memcpy((uint8_t *)user + page * PAGE_SIZE + offset, data, size);
    return BM_OK;
}

static int erase(void *user, unsigned page)
{
    memset((uint8_t *)user + page * PAGE_SIZE, 0xff, PAGE_SIZE);
    return BM_OK;
}

/* ECDH of a protected chip: its key is written to the flash, read back, and takes the encryption off. */
static int io_key(void)
{
    uint8_t pages[BM_FLASH_PAGES * PAGE_SIZE];
    struct bm_port port = {.user = pages, .flash = pages, .flash_program = program, .flash_erase = erase, .page_size = PAGE_SIZE};
    unsigned answer = 0;
    const struct bm_atecc608_bus bus = {&answer, bus_wake, bus_send, bus_receive, bus_idle};
    struct bm_atecc608 protected;
    uint8_t key[BM_IO_KEY_SIZE] = {0};
    uint8_t out[32], unknown[sizeof out] = {0};

    memset(pages, 0xff, sizeof pages);
    secret(key, sizeof key);
    bm_atecc608_start(&protected, &bus);
    bm_atecc608_protect(&protected, &port);
    if (bm_flash_replace(&port, BM_RECORD_IO_KEY, key, sizeof key) != BM_OK ||
        bm_atecc608_ecdh(&protected, BM_KEY_EPHEMERAL, base_point, out) != BM_OK) {
        return 1;
    }
    (void)VALGRIND_GET_VBITS(out, unknown, sizeof out);
    return unknown[0] != 0xff; /* it depends on the key */
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } cases[] = {{"leak", leak}, {"equal", equal}, {"sha256", sha256}, {"kdf", kdf},
                 {"aes", aes},   {"ccm", ccm},     {"edhoc", edhoc},   {"session", session}, {"io_key", io_key}};

    for (unsigned i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) == 0) {
            return cases[i].run();
        }
    }
    fprintf(stderr, "usage: ct CASE\n");
    return 2;
}
