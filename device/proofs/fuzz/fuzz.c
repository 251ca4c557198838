/* libFuzzer's targets: one for each message and structure that comes from outside, built with -DTARGET=NAME. Each input lies in an
 * allocation of its own size, so that AddressSanitizer sees a read beyond it. The chip takes every signature for good and
 * AES-CCM and the mask of message_2 are left out (--wrap), so that the fuzzer writes the plaintexts and reaches what reads them.
 * A parser's result is written again and has to be the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "flash.h"
#include "internal.h"
#include "peerlink.h"
#include "policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int holds)
{
    if (!holds) {
        abort();
    }
}

/* Read an area. */
static void use(const uint8_t *bytes, size_t size)
{
    volatile uint8_t sink = 0;

    for (size_t i = 0; i < size; i++) {
        sink = (uint8_t)(sink + bytes[i]);
    }
}

int __wrap_bm_ccm(const struct bm_port *port, const uint8_t *key, const uint8_t *aad, size_t aad_size, uint8_t *text, size_t size,
                  size_t tag_size, unsigned open);
void __real_bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t *prk, uint32_t label, const struct bm_part *context,
                               unsigned count, uint8_t keep);
void __wrap_bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t *prk, uint32_t label, const struct bm_part *context,
                               unsigned count, uint8_t keep);

int __wrap_bm_ccm(const struct bm_port *port, const uint8_t *key, const uint8_t *aad, size_t aad_size, uint8_t *text, size_t size,
                  size_t tag_size, unsigned open)
{
    (void)port;
    use(key, BM_CCM_KEY_SIZE);
    use(aad, aad_size);
    if (open) {
        use(text, size + tag_size);
        return size + tag_size > 0 && text[size + tag_size - 1] == 0xEE ? BM_ERR_AUTH : BM_OK;
    }
    memset(text + size, 0, tag_size);
    return BM_OK;
}

void __wrap_bm_edhoc_kdf_parts(uint8_t *out, size_t size, const uint8_t *prk, uint32_t label, const struct bm_part *context,
                               unsigned count, uint8_t keep)
{
    if (keep == 0) {
        __real_bm_edhoc_kdf_parts(out, size, prk, label, context, count, keep);
    }
}

/* A board. */

enum { PAGE = 2048 };

static uint8_t pages[BM_FLASH_PAGES][PAGE];
static int born; /* what the pages hold was written by the library */

/* X then Y of the base point (SP 800-186, 3.2.1.3). */
static const uint8_t base_point[BM_KEY_SIZE] = {
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
    0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
    0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};

static int chip_random(void *user, uint8_t out[32])
{
    (void)user;
    for (unsigned i = 0; i < 32; i++) {
        out[i] = (uint8_t)(i + 1);
    }
    return BM_OK;
}

static int chip_key(void *user, uint8_t key[BM_KEY_SIZE])
{
    (void)user;
    memcpy(key, base_point, BM_KEY_SIZE);
    return BM_OK;
}

static int chip_sign(void *user, const uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE])
{
    (void)user;
    memcpy(signature, base_point, BM_SIGNATURE_SIZE);
    use(digest, BM_HASH_SIZE);
    return BM_OK;
}

static int chip_verify(void *user, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                       const uint8_t signature[BM_SIGNATURE_SIZE])
{
    (void)user;
    use(key, BM_KEY_SIZE);
    use(digest, BM_HASH_SIZE);
    use(signature, BM_SIGNATURE_SIZE);
    return BM_OK;
}

static int chip_ecdh(void *user, int own, const uint8_t peer[BM_KEY_SIZE], uint8_t secret[32])
{
    (void)own;
    use(peer, BM_KEY_SIZE);
    return chip_random(user, secret);
}

static int flash_program(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size)
{
    (void)user;
    expect(page < BM_FLASH_PAGES && offset <= PAGE && size <= PAGE - offset);
    expect(offset % BM_FLASH_UNIT == 0 && size % BM_FLASH_UNIT == 0);
    for (size_t i = 0; i < size; i++) {
        expect(!born || pages[page][offset + i] == 0xFF); /* each unit once between erasures */
        pages[page][offset + i] &= data[i];
    }
    return BM_OK;
}

static int flash_erase(void *user, unsigned page)
{
    (void)user;
    memset(pages[page], 0xFF, PAGE);
    return BM_OK;
}

static const struct bm_port board = {.random = chip_random,
                                     .public_key = chip_key,
                                     .sign = chip_sign,
                                     .verify = chip_verify,
                                     .ephemeral = chip_key,
                                     .ecdh = chip_ecdh,
                                     .aes = bm_aes128,
                                     .flash = pages[0],
                                     .flash_program = flash_program,
                                     .flash_erase = flash_erase,
                                     .page_size = PAGE,
                                     .key_usage = BM_DIGITAL_SIGNATURE,
                                     .ephemeral_uses = 255};

static struct bm_image image = {.product = 1, .peers = {1}, .peer_count = 1};

/* A unit that was born: root of epoch 1, open pairing. The next root's key is the base point again, so that a link can name it. */
static void birth(void)
{
    uint8_t anchor[BM_ANCHOR_SIZE] = {0, 1};
    const struct bm_pairing open = {.state = BM_PAIRING_OPEN};

    for (unsigned page = 0; page < BM_FLASH_PAGES; page++) {
        (void)flash_erase(NULL, page);
    }
    memcpy(anchor + BM_ROOT_NAME_SIZE, base_point, BM_KEY_SIZE);
    bm_sha256(anchor + BM_ROOT_NAME_SIZE + BM_KEY_SIZE, base_point, BM_KEY_SIZE);
    bm_sha256(image.anchor_hash, anchor, BM_ANCHOR_SIZE);
    born = 1;
    expect(bm_flash_append(&board, BM_PAGE_TRUST, BM_RECORD_ANCHOR, anchor, BM_ANCHOR_SIZE) == BM_OK && bm_pairing_write(&board, &open) == BM_OK);
}

/* Certificates */

static size_t order(const uint8_t *data, size_t size)
{
    struct bm_certificate c;

    if (bm_c509_order(&c, data, size) == BM_OK) {
        expect(c.signed_bytes == data + 1 && c.signed_size == size - 1 - 66);
        use(c.first, BM_UNIT_NAME_SIZE);
        use(c.last, BM_UNIT_NAME_SIZE);
        expect(size <= BM_ORDER_CERTIFICATE_MAX);
    }
    return 0;
}

static size_t unit(const uint8_t *data, size_t size)
{
    struct bm_certificate c;

    if (bm_c509_unit(&c, data, size) == BM_OK) {
        expect(c.signed_bytes == data + 1 && c.signed_size == size - 1 - 66);
        expect(size <= BM_UNIT_CERTIFICATE_MAX);
    }
    return 0;
}

static size_t id_cred(const uint8_t *data, size_t size)
{
    uint8_t order_hash[BM_ORDER_HASH_SIZE];
    struct bm_peer peer;

    birth();
    if (bm_trust_peer(&board, &image, BM_TRUST_UNIT, data, size, &peer, order_hash) == BM_OK) {
        use(peer.cred, peer.cred_size);
        use(peer.key, sizeof peer.key);
        use(order_hash, sizeof order_hash);
        expect(peer.cred == data + 6 && peer.cred_size <= BM_UNIT_CERTIFICATE_MAX && size <= BM_ID_CRED_MAX);
    }
    return 0;
}

/* What a root signs */

/* What was taken is handed on as it came. */
static void stored(unsigned epoch, const uint8_t *data, size_t size)
{
    size_t len;
    const uint8_t *object = bm_trust_stored(&board, epoch, &len);

    expect(object != NULL && len == size && memcmp(object, data, len) == 0);
}

static size_t link(const uint8_t *data, size_t size)
{
    birth();
    if (bm_trust_link(&board, data, size) == BM_OK) {
        stored(2, data, size);
        expect(bm_trust_link(&board, data, size) == BM_OK);
    }
    return 0;
}

static size_t list(const uint8_t *data, size_t size)
{
    birth();
    if (bm_trust_list(&board, data, size) == BM_OK) {
        stored(0, data, size);
        expect(bm_trust_list(&board, data, size) == BM_ERR_STATE);
    }
    return 0;
}

static size_t release(const uint8_t *data, size_t size)
{
    static const uint8_t serial[BM_UNIT_NAME_SIZE] = {2, 0, 0, 0, 0, 0, 0, 2};

    birth();
    if (bm_trust_release(&board, serial, 7, data, size) == BM_OK) {
        expect(bm_trust_release(&board, serial, 8, data, size) == BM_ERR_AUTH);
    }
    return 0;
}

/* The three pages hold anything, as they never will; what is written then is read again. */
static size_t flash(const uint8_t *data, size_t size)
{
    struct bm_trust_version version;
    struct bm_pairing pairing;
    size_t len;

    memset(pages, 0xFF, sizeof pages);
    for (size_t i = 0; i < size && i < 3 * 256; i++) {
        pages[i % 3][i / 3] = data[i];
    }
    bm_trust_version(&board, &version);
    for (unsigned epoch = 0; epoch < 4; epoch++) {
        const uint8_t *object = bm_trust_stored(&board, epoch, &len);
        use(object, len);
    }
    bm_pairing_read(&board, &pairing);
    expect(pairing.unit_size <= BM_UNIT_CERTIFICATE_MAX);
    /* A page is written from its start and erased as a whole before it is begun, so nothing lies behind what is free in it. */
    for (unsigned page = 0; page < BM_FLASH_PAGES; page++) {
        struct bm_record r;
        bm_flash_start(&r, &board, page);
        while (bm_flash_next(&r)) {
        }
        memset(pages[page] + r.end, 0xFF, PAGE - r.end);
    }
    struct bm_pairing next = pairing;
    next.state = BM_PAIRING_OPEN;
    next.unit_size = 0;
    next.generation = pairing.state == BM_PAIRING_FAULT ? 0 : pairing.generation + 1;
    if (bm_pairing_write(&board, &next) == BM_OK) {
        bm_pairing_read(&board, &pairing);
        expect(pairing.state == BM_PAIRING_OPEN && pairing.generation == next.generation);
    }
    return 0;
}

/* EDHOC */

static const uint8_t cred[300] = {1};

static int resolve(void *user, unsigned attempt, const uint8_t *id, size_t id_size, struct bm_peer *peer)
{
    (void)user;
    use(id, id_size);
    if (attempt > 0 || id_size == 0) {
        return BM_ERR_AUTH;
    }
    if (id[id_size - 1] == 0xEE) {
        return BM_ERR_UNKNOWN;
    }
    peer->cred = cred;
    peer->cred_size = sizeof cred;
    memcpy(peer->key, base_point, BM_KEY_SIZE);
    return BM_OK;
}

/* Message n is the input but for its first byte, which chooses method and suite. What comes of it is told to the peer. */
static size_t edhoc(unsigned n, const uint8_t *data, size_t size)
{
    static const uint8_t suites[] = {2, 3};
    static const uint8_t own_cred[] = {2};
    static const uint8_t own_id = 0;
    static const uint8_t connection = 0;
    struct bm_edhoc_config config = {.port = &board,
                                     .resolve = resolve,
                                     .own = {&own_id, 1, own_cred, 1},
                                     .suites = suites,
                                     .suite_count = 2,
                                     .methods = 1,
                                     .connection = &connection,
                                     .connection_size = 1};
    struct bm_edhoc e;
    uint8_t out[BM_ID_CRED_MAX];
    size_t len;

    if (size == 0) {
        return 0;
    }
    config.selected = data[0] >> 2 & 1;
    expect(bm_edhoc_start(&e, &config, n & 1 ? BM_RESPONDER : BM_INITIATOR) == BM_OK);
    e.state = (uint8_t)n;
    e.method = data[0] & 3;
    e.tag_size = config.selected ? 16 : 8;
    uint8_t *message = malloc(size - 1);
    memcpy(message, data + 1, size - 1);
    int status = bm_edhoc_read(&e, message, size - 1);
    if (status == BM_OK) {
        expect(e.state == n + 1);
        (void)bm_edhoc_write(&e, out, sizeof out, &len);
    } else {
        for (size_t i = 0; i < size - 1; i++) {
            expect(message[i] == 0);
        }
        expect(bm_edhoc_read(&e, message, size - 1) == BM_ERR_STATE);
        if (bm_edhoc_error(&e, out, sizeof out, &len) == BM_OK) {
            use(out, len);
        }
    }
    free(message);
    return 0;
}

static size_t message_1(const uint8_t *data, size_t size)
{
    return edhoc(1, data, size);
}

static size_t message_2(const uint8_t *data, size_t size)
{
    return edhoc(2, data, size);
}

static size_t message_3(const uint8_t *data, size_t size)
{
    return edhoc(3, data, size);
}

static size_t message_4(const uint8_t *data, size_t size)
{
    return edhoc(4, data, size);
}

/* An error message, whose code is the first byte's, in the state that the byte before it chooses. */
static size_t error(const uint8_t *data, size_t size)
{
    return size > 1 ? edhoc(2 + data[0] % 3, data, size) : 0;
}

/* An item, as ID_CRED_x and EAD are skipped: whole, once, without recursion. */
static size_t item(const uint8_t *data, size_t size)
{
    struct bm_reader r;

    bm_read_start(&r, data, size);
    bm_read_skip(&r);
    expect(r.bad || (r.at > 0 && r.at <= size));
    return 0;
}

/* Records */

static size_t record(const uint8_t *data, size_t size)
{
    struct bm_session s = {.open = 1, .role = BM_INITIATOR, .generation = 3, .received = 5};
    uint8_t *copy = malloc(size);
    size_t len;

    memcpy(copy, data, size);
    if (bm_session_open(&s, &board, copy, size, &len) == BM_OK) {
        use(copy + BM_RECORD_HEADER_SIZE, len);
        expect(len + BM_RECORD_OVERHEAD == size && s.generation - 3u <= 1 && s.received == bm_get(data + 1, 3) + 1);
        memcpy(copy, data, size);
        expect(bm_session_open(&s, &board, copy, size, &len) == BM_ERR_AUTH); /* a replay */
    } else {
        expect(s.generation == 3 && s.received == 5);
    }
    free(copy);
    return 0;
}

/* Lines */

static void send_nothing(void *user, const uint8_t *bytes, size_t size)
{
    (void)user;
    use(bytes, size);
}

static void received(void *user, const uint8_t *message, size_t size)
{
    (void)user;
    use(message, size);
}

static void changed(void *user, int event, int reason)
{
    (void)user, (void)event, (void)reason;
}

/* Frames, each behind a byte with its size; a size of 0 is a tick, of FF the wish to connect. */
static size_t peerlink(const uint8_t *data, size_t size)
{
    static uint8_t in[BM_PEERLINK_IN_SIZE];
    static uint8_t out[BM_PEERLINK_OUT_SIZE];
    static struct bm_identity identity = {.id_size = 30, .order_at = 20, .unit_at = 6, .unit_size = 12, .order_size = 10};
    static const struct bm_peerlink_config config = {.port = &board,
                                                     .image = &image,
                                                     .identity = &identity,
                                                     .in = in,
                                                     .out = out,
                                                     .send = send_nothing,
                                                     .received = received,
                                                     .changed = changed,
                                                     .pair_allowed = bm_wired};
    struct bm_peerlink link;
    uint32_t now = 0;

    birth();
    if (bm_peerlink_start(&link, &config, now) != BM_OK) {
        return 0;
    }
    for (size_t at = 0; at < size;) {
        size_t frame = data[at++];
        if (frame == 0) {
            now += 500;
            bm_peerlink_tick(&link, now);
        } else if (frame == 0xFF) {
            (void)bm_peerlink_connect(&link);
        } else {
            frame = frame < size - at ? frame : size - at;
            uint8_t *copy = malloc(frame);
            memcpy(copy, data + at, frame);
            bm_peerlink_frame(&link, copy, frame);
            free(copy);
            at += frame;
        }
    }
    return 0;
}

static size_t line(const uint8_t *data, size_t size)
{
    uint8_t *buffer = malloc(40);
    struct bm_line l;
    size_t len;

    bm_line_start(&l, buffer, 40);
    for (size_t i = 0; i < size; i++) {
        if (bm_line_receive(&l, data[i], &len)) {
            use(buffer, len);
        }
    }
    free(buffer);
    return 0;
}

/* An agent whose chip answers nothing: what a chip does is the Go target's (FuzzAgent). */

static int no_chip(void *user)
{
    (void)user;
    return BM_ERR_PORT;
}

static int no_send(void *user, const uint8_t *group, size_t size)
{
    (void)user, (void)group, (void)size;
    return BM_ERR_PORT;
}

static int no_receive(void *user, uint8_t *group, size_t size, unsigned milliseconds)
{
    (void)user, (void)group, (void)size, (void)milliseconds;
    return BM_ERR_PORT;
}

static void no_idle(void *user)
{
    (void)user;
}

static size_t agent(const uint8_t *data, size_t size)
{
    static const struct bm_atecc608_bus bus = {NULL, no_chip, no_send, no_receive, no_idle};
    static const struct bm_board quiet = {.send = send_nothing, .debug_close = no_idle, .debug_closed = no_chip};
    static struct bm_identity identity;
    struct bm_atecc608 chip;
    struct bm_agent a;
    uint8_t *request = malloc(BM_REQUEST_SIZE);

    birth();
    bm_atecc608_start(&chip, &bus);
    bm_agent_start(&a, &image, &board, &chip, &quiet, &identity);
    for (unsigned round = 0; round < 2; round++) { /* the second is a repetition */
        size_t part = size < BM_REQUEST_MAX ? size : BM_REQUEST_MAX;
        memcpy(request, data, part);
        bm_agent_frame(&a, request, part);
    }
    free(request);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static size_t (*const targets[])(const uint8_t *, size_t) = {order,     unit,      id_cred,   link,  list, release, flash,    message_1,
                                                                 message_2, message_3, message_4, error, item, record,  peerlink, line, agent};
    (void)targets; /* each is built, one is run */
    (void)TARGET(data, size);
    return 0;
}
