/* How deep the library's stack goes: two units meet for the first time and pair, with credentials by value of the largest
 * size, on a Cortex-M0 under QEMU. The stack is painted before each call into the library, and what the call has overwritten
 * is its depth. The chip is a stub: its driver's stack is not counted, that of the callbacks here is. Prints the depths of
 * Initiator and Responder, in bytes. */
#include "flash.h"
#include "internal.h"
#include "peerlink.h"
#include "policy.h"

enum {
    PAGE = 2048,
    QUEUE = 1024,
    PAINTED = 4096, /* bytes below the caller; more than any call may take */
    PAINT = 0xA5,
    PRODUCT = 0x12345678,
    TICK = 50,          /* ms */
    PATIENCE = 400,     /* ticks */
    SEMIHOSTING_WRITE0 = 0x04,
    SEMIHOSTING_EXIT = 0x18,
    SEMIHOSTING_STOPPED = 0x20026
};

struct unit {
    struct bm_peerlink link;
    struct bm_peerlink_config config;
    struct bm_port port;
    struct bm_identity identity;
    uint8_t flash[BM_FLASH_PAGES][PAGE];
    uint8_t in[BM_PEERLINK_IN_SIZE];
    uint8_t out[BM_PEERLINK_OUT_SIZE];
    uint8_t frame[BM_PEERLINK_FRAME_SIZE];
    uint8_t queue[QUEUE]; /* what the other one has sent */
    unsigned queued;
    struct unit *other;
    const uint8_t *point; /* the ephemeral key */
    unsigned depth;
    int paired;
    int received;
};

static struct unit units[2];
static struct bm_image image;

/* 02 or 03 and x of the base point's multiples 1 to 5 (SP 800-186, 3.2.1.3): points that everybody can check. */
static const uint8_t points[5][BM_COMPRESSED_SIZE] = {
    {0x03, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
     0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96},
    {0x03, 0x7c, 0xf2, 0x7b, 0x18, 0x8d, 0x03, 0x4f, 0x7e, 0x8a, 0x52, 0x38, 0x03, 0x04, 0xb5, 0x1a, 0xc3,
     0xc0, 0x89, 0x69, 0xe2, 0x77, 0xf2, 0x1b, 0x35, 0xa6, 0x0b, 0x48, 0xfc, 0x47, 0x66, 0x99, 0x78},
    {0x02, 0x5e, 0xcb, 0xe4, 0xd1, 0xa6, 0x33, 0x0a, 0x44, 0xc8, 0xf7, 0xef, 0x95, 0x1d, 0x4b, 0xf1, 0x65,
     0xe6, 0xc6, 0xb7, 0x21, 0xef, 0xad, 0xa9, 0x85, 0xfb, 0x41, 0x66, 0x1b, 0xc6, 0xe7, 0xfd, 0x6c},
    {0x02, 0xe2, 0x53, 0x4a, 0x35, 0x32, 0xd0, 0x8f, 0xbb, 0xa0, 0x2d, 0xde, 0x65, 0x9e, 0xe6, 0x2b, 0xd0,
     0x03, 0x1f, 0xe2, 0xdb, 0x78, 0x55, 0x96, 0xef, 0x50, 0x93, 0x02, 0x44, 0x6b, 0x03, 0x08, 0x52},
    {0x02, 0x51, 0x59, 0x0b, 0x7a, 0x51, 0x51, 0x40, 0xd2, 0xd7, 0x84, 0xc8, 0x56, 0x08, 0x66, 0x8f, 0xdf,
     0xef, 0x8c, 0x82, 0xfd, 0x1f, 0x5b, 0xe5, 0x24, 0x21, 0x55, 0x4a, 0x0d, 0xc3, 0xd0, 0x33, 0xed},
};

/* What gcc asks for in any environment. */
void *memset(void *area, int byte, size_t size);
void *memset(void *area, int byte, size_t size)
{
    volatile uint8_t *bytes = area;

    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)byte;
    }
    return area;
}

/* The chip: every signature holds, and all have one secret in common. */

static int chip_random(void *user, uint8_t out[32])
{
    static uint8_t count;

    (void)user;
    for (unsigned i = 0; i < 32; i++) {
        out[i] = ++count;
    }
    return BM_OK;
}

static int chip_public_key(void *user, uint8_t key[BM_KEY_SIZE])
{
    const struct unit *u = user;

    return bm_p256_recover(key, u->point);
}

static int chip_sign(void *user, const uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE])
{
    (void)user;
    bm_copy(signature, digest, BM_HASH_SIZE);
    bm_copy(signature + BM_HASH_SIZE, digest, BM_HASH_SIZE);
    return BM_OK;
}

static int chip_verify(void *user, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                       const uint8_t signature[BM_SIGNATURE_SIZE])
{
    (void)user, (void)key, (void)digest, (void)signature;
    return BM_OK;
}

static int chip_ephemeral(void *user, uint8_t key[BM_KEY_SIZE])
{
    const struct unit *u = user;

    bm_copy(key, u->point + 1, BM_COMPRESSED_SIZE - 1); /* y is never asked for */
    return BM_OK;
}

static int chip_ecdh(void *user, int own, const uint8_t peer[BM_KEY_SIZE], uint8_t secret[32])
{
    (void)user, (void)own, (void)peer;
    for (unsigned i = 0; i < 32; i++) {
        secret[i] = (uint8_t)(i + 1);
    }
    return BM_OK;
}

static int flash_program(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size)
{
    struct unit *u = user;

    bm_copy(&u->flash[page][offset], data, size);
    return BM_OK;
}

static int flash_erase(void *user, unsigned page)
{
    struct unit *u = user;

    for (unsigned i = 0; i < PAGE; i++) {
        u->flash[page][i] = 0xFF;
    }
    return BM_OK;
}

/* The product. */

static void line_send(void *user, const uint8_t *bytes, size_t size)
{
    struct unit *u = user;
    struct unit *other = u->other;

    bm_copy(other->queue + other->queued, bytes, size);
    other->queued += (unsigned)size;
}

static void received(void *user, const uint8_t *message, size_t size)
{
    struct unit *u = user;

    (void)message, (void)size;
    u->received = 1;
}

static void changed(void *user, int event, int reason)
{
    struct unit *u = user;

    (void)reason;
    u->paired |= event == BM_PEERLINK_READY;
}

/* Certificates of the largest size, whose signatures only have to look like some. */

static void write_head(struct bm_writer *w, const uint8_t *serial, size_t serial_size, const uint8_t *issuer, size_t issuer_size,
                       const uint8_t *subject, size_t subject_size, const uint8_t *key)
{
    bm_write(w, BM_ARRAY, 11);
    bm_write(w, BM_UINT, 2);
    bm_write_string(w, BM_BYTES, serial, serial_size);
    bm_write(w, BM_UINT, 0);
    bm_write_string(w, BM_BYTES, issuer, issuer_size);
    bm_write(w, BM_UINT, 0x60000000);
    bm_write(w, BM_SIMPLE, BM_NULL);
    bm_write_string(w, BM_BYTES, subject, subject_size);
    bm_write(w, BM_UINT, 1);
    bm_write_string(w, BM_BYTES, key, BM_COMPRESSED_SIZE);
}

static void write_signature(struct bm_writer *w)
{
    uint8_t signature[BM_SIGNATURE_SIZE];

    for (unsigned i = 0; i < BM_SIGNATURE_SIZE; i++) {
        signature[i] = 0x11;
    }
    bm_write_string(w, BM_BYTES, signature, BM_SIGNATURE_SIZE);
}

static void write_identity(struct bm_identity *identity, unsigned which)
{
    static const uint8_t order_name[BM_ORDER_NAME_SIZE] = {0, 1, 0x10, 0x01};
    static const uint8_t first[BM_UNIT_NAME_SIZE] = {2, 0, 0, 0, 0, 0, 0, 1};
    static const uint8_t last[BM_UNIT_NAME_SIZE] = {2, 0, 0, 0, 0, 0, 0, 9};
    uint8_t name[BM_UNIT_NAME_SIZE];
    uint8_t certificate[BM_ORDER_CERTIFICATE_MAX];
    struct bm_writer w;
    struct bm_writer id;

    bm_copy(name, first, sizeof name);
    name[BM_UNIT_NAME_SIZE - 1] = (uint8_t)(2 + which);
    bm_write_start(&id, identity->id, sizeof identity->id);
    bm_write(&id, BM_MAP, 1);
    bm_write(&id, BM_UINT, 25);
    bm_write(&id, BM_ARRAY, 2);

    bm_write_start(&w, certificate, sizeof certificate);
    write_head(&w, name, sizeof name, order_name, sizeof order_name, name, sizeof name, points[3 + which]);
    bm_write(&w, BM_NINT, 0);
    write_signature(&w);
    bm_write_string(&id, BM_BYTES, certificate, w.len);
    identity->unit_size = (uint8_t)w.len;
    identity->unit_at = (uint8_t)(id.len - w.len);

    bm_write_start(&w, certificate, sizeof certificate);
    write_head(&w, order_name + BM_ROOT_NAME_SIZE, 2, order_name, BM_ROOT_NAME_SIZE, order_name, sizeof order_name, points[2]);
    bm_write(&w, BM_ARRAY, 6);
    bm_write(&w, BM_NINT, 1);
    bm_write(&w, BM_UINT, 32);
    bm_write(&w, BM_NINT, 3);
    bm_write(&w, BM_UINT, 0);
    bm_write(&w, BM_NINT, 33000 - 1);
    bm_write(&w, BM_ARRAY, 3);
    bm_write(&w, BM_UINT, PRODUCT);
    bm_write_string(&w, BM_BYTES, first, sizeof first);
    bm_write_string(&w, BM_BYTES, last, sizeof last);
    write_signature(&w);
    bm_write_string(&id, BM_BYTES, certificate, w.len);
    identity->order_size = (uint8_t)w.len;
    identity->order_at = (uint16_t)(id.len - w.len);
    identity->id_size = (uint16_t)id.len;
}

static int start(struct unit *u, unsigned which)
{
    uint8_t anchor[BM_ANCHOR_SIZE] = {0, 1};
    struct bm_pairing open = {.state = BM_PAIRING_OPEN};

    u->other = &units[1 - which];
    u->point = points[which];
    u->port = (struct bm_port){.user = u,
                               .random = chip_random,
                               .public_key = chip_public_key,
                               .sign = chip_sign,
                               .verify = chip_verify,
                               .ephemeral = chip_ephemeral,
                               .ecdh = chip_ecdh,
                               .aes = bm_aes128,
                               .flash = u->flash[0],
                               .flash_program = flash_program,
                               .flash_erase = flash_erase,
                               .page_size = PAGE,
                               .key_usage = BM_DIGITAL_SIGNATURE,
                               .ephemeral_uses = 1};
    for (unsigned page = 0; page < BM_FLASH_PAGES; page++) {
        (void)flash_erase(u, page);
    }
    if (bm_p256_recover(anchor + BM_ROOT_NAME_SIZE, points[0]) != BM_OK) {
        return BM_ERR_MALFORMED;
    }
    bm_sha256(image.anchor_hash, anchor, sizeof anchor);
    if (bm_flash_append(&u->port, BM_PAGE_TRUST, BM_RECORD_ANCHOR, anchor, BM_ANCHOR_SIZE) != BM_OK || bm_pairing_write(&u->port, &open) != BM_OK) {
        return BM_ERR_PORT;
    }
    write_identity(&u->identity, which);
    u->config = (struct bm_peerlink_config){.port = &u->port,
                                            .image = &image,
                                            .identity = &u->identity,
                                            .in = u->in,
                                            .out = u->out,
                                            .frame = u->frame,
                                            .user = u,
                                            .send = line_send,
                                            .received = received,
                                            .changed = changed,
                                            .pair_allowed = bm_wired};
    return bm_peerlink_start(&u->link, &u->config, 0);
}

/* Painting. The painted area begins below this function's own frame, which is the callee's to overwrite. */

static uint8_t *top(void)
{
    uint8_t *sp;

    __asm__ volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

static void measure(struct unit *u, void (*call)(struct unit *u, uint32_t argument), uint32_t argument)
{
    volatile uint8_t *sp = top();

    for (unsigned i = 1; i <= PAINTED; i++) {
        sp[-(int)i] = PAINT;
    }
    call(u, argument);
    for (unsigned i = PAINTED; i > u->depth; i--) {
        if (sp[-(int)i] != PAINT) {
            u->depth = i;
        }
    }
}

static void tick(struct unit *u, uint32_t now)
{
    bm_peerlink_tick(&u->link, now);
}

static void receive(struct unit *u, uint32_t byte)
{
    bm_peerlink_receive(&u->link, (uint8_t)byte);
}

static void deliver(struct unit *u)
{
    uint8_t bytes[QUEUE];
    unsigned size = u->queued;

    bm_copy(bytes, u->queue, size);
    u->queued = 0;
    for (unsigned i = 0; i < size; i++) {
        measure(u, receive, bytes[i]);
    }
}

static void semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void print(unsigned number)
{
    char text[12];
    unsigned at = sizeof text;

    text[--at] = 0;
    text[--at] = '\n';
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    semihosting(SEMIHOSTING_WRITE0, text + at);
}

static int meet(void)
{
    static const uint8_t hello[] = "hello";

    image.product = PRODUCT;
    image.peers[0] = PRODUCT;
    image.peer_count = 1;
    if (start(&units[0], 0) != BM_OK || start(&units[1], 1) != BM_OK || bm_peerlink_connect(&units[0].link) != BM_OK) {
        return 1;
    }
    for (uint32_t now = TICK, sent = 0; now < PATIENCE * TICK; now += TICK) {
        for (unsigned i = 0; i < 2; i++) {
            measure(&units[i], tick, now);
            deliver(&units[i]);
        }
        if (!sent && units[0].paired && units[1].paired) {
            sent = bm_peerlink_send(&units[0].link, hello, sizeof hello) == BM_OK;
        }
        if (units[1].received) {
            print(units[0].depth);
            print(units[1].depth);
            return 0;
        }
    }
    return 2;
}

void reset(void);
void fault(void);

void fault(void)
{
    semihosting(SEMIHOSTING_WRITE0, "fault\n");
    semihosting(SEMIHOSTING_EXIT, (const void *)SEMIHOSTING_STOPPED);
    for (;;) {
    }
}

void reset(void)
{
    if (meet() != 0) {
        semihosting(SEMIHOSTING_WRITE0, "the units did not meet\n");
    }
    semihosting(SEMIHOSTING_EXIT, (const void *)SEMIHOSTING_STOPPED);
    for (;;) {
    }
}

extern uint8_t stack_top[];
const void *const vectors[4] __attribute__((section(".vectors"), used)) = {stack_top, (const void *)reset, (const void *)fault,
                                                                          (const void *)fault};
