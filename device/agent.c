#include "agent.h"

#include "installed.h"
#include "internal.h"
#include "pairing.h"

enum verb { HELLO = 1, PREPARE = 2, PROVE = 3, INSTALL = 4, HANDSHAKE = 5, SEAL = 6, LINK = 7, LIST = 8, RELEASE = 9 };

enum reply_status {
    OK = 0,
    MALFORMED = 1,
    SEQUENCE = 2,
    STATE = 3,
    CHIP = 4,
    CONFIGURATION = 5,
    REFUSED = 6,
    FLASH = 7
};

enum {
    PROTOCOL = 1,
    CHALLENGE_SIZE = 32,
    REVISION_SIZE = 4,
    LOCKS_SIZE = 4,
    SEQUENCE_MAX = 255,
    REQUEST_ITEMS = 3,    /* session, sequence, verb */
    REPLY_ITEMS = 5,      /* session, sequence, verb, status, serial */
    DIGITAL_SIGNATURE = 1, /* keyUsage */
    CHECK_OBJECT = 17,     /* these two go on from enum bm_peer_check */
    CHECK_OLD = 18
};

/* What the station sent, and where the reply goes. */
struct call {
    uint32_t items;
    uint32_t session;
    uint32_t sequence;
    uint32_t verb;
    uint8_t *request; /* BM_REQUEST_SIZE bytes, free once the arguments are no longer needed */
    struct bm_reader arguments;
    struct bm_writer reply;
};

/* How a verb ended; detail counts when status is not OK. */
struct outcome {
    uint8_t status;
    uint8_t detail;
};

static const struct outcome good = {OK, 0};

static struct outcome refuse(enum reply_status status, unsigned detail)
{
    return (struct outcome){(uint8_t)status, (uint8_t)detail};
}

/* 1 if so many arguments were read, all good, and nothing follows. */
static int parsed(const struct call *c, unsigned arguments)
{
    return c->items == REQUEST_ITEMS + arguments && bm_read_end(&c->arguments) == BM_OK;
}

static struct outcome chip_failed(const struct bm_agent *a)
{
    return refuse(CHIP, a->chip->status);
}

/* Where the unit stands, as its chip and flash say at this moment: nothing is remembered between requests. */
struct survey {
    enum bm_unit_state state;
    uint8_t revision[REVISION_SIZE];
    uint8_t locks[LOCKS_SIZE];
    uint8_t key[BM_KEY_SIZE]; /* from BM_UNIT_PREPARED on */
};

/* The chip's part of a survey, which never says BM_UNIT_INSTALLED: that takes the certificates. The reply's buffer is free
 * until begin, and spares the stack a zone. */
static struct outcome survey_chip(struct bm_agent *a, struct survey *s)
{
    uint8_t *zone = a->reply;

    if (bm_atecc608_zone(a->chip, zone) != BM_OK) {
        return chip_failed(a);
    }
    bm_atecc608_serial(zone, a->serial);
    bm_copy(s->revision, zone + BM_ATECC608_AT_REVISION, REVISION_SIZE);
    bm_copy(s->locks, zone + BM_ATECC608_AT_LOCKS, LOCKS_SIZE);
    return bm_atecc608_state(a->chip, zone, &s->state, s->key) == BM_OK ? good : chip_failed(a);
}

/* A prepared unit is installed if what it stores would pass install's checks again. */
static struct outcome judge(const struct bm_agent *a, struct survey *s)
{
    const struct bm_identity *stored = a->identity;
    const uint8_t *anchor = bm_installed_anchor(a->port);

    if (anchor == NULL) {
        return good;
    }
    struct bm_birth birth = {
        .anchor = anchor,
        .order = stored->id + stored->order_at,
        .order_size = stored->order_size,
        .unit = stored->id + stored->unit_at,
        .unit_size = stored->unit_size,
        .key = s->key,
    };
    int status = bm_trust(a->port, a->image, &birth);
    if (status == BM_OK) {
        s->state = BM_UNIT_INSTALLED;
    }
    return status == BM_ERR_PORT ? chip_failed(a) : good;
}

/* The whole survey, and the identity as slot 8 has it at this moment. */
static struct outcome survey(struct bm_agent *a, struct survey *s)
{
    struct outcome o = survey_chip(a, s);

    bm_wipe(a->identity, sizeof *a->identity);
    if (o.status != OK || (s->state != BM_UNIT_PREPARED && s->state != BM_UNIT_SEALED)) {
        return o;
    }
    if (bm_installed_load(a->chip, a->identity) != BM_OK) {
        return chip_failed(a);
    }
    return s->state == BM_UNIT_PREPARED && a->identity->id_size > 0 ? judge(a, s) : good;
}

/* Start a reply of status OK or, with one result, of another. */
static void begin(const struct bm_agent *a, struct call *c, unsigned status, unsigned results)
{
    bm_write(&c->reply, BM_ARRAY, REPLY_ITEMS + results);
    bm_write(&c->reply, BM_UINT, c->session);
    bm_write(&c->reply, BM_UINT, c->sequence);
    bm_write(&c->reply, BM_NINT, c->verb - 1); /* -verb */
    bm_write(&c->reply, BM_UINT, status);
    bm_write_string(&c->reply, BM_BYTES, a->serial, BM_CHIP_SERIAL_SIZE);
}

/* The last result of both hello and seal. */
static void write_closed(const struct bm_agent *a, struct call *c)
{
    bm_write(&c->reply, BM_SIMPLE, a->board->debug_closed(a->board->user) ? BM_TRUE : BM_FALSE);
}

static struct outcome hello(struct bm_agent *a, struct call *c)
{
    const struct bm_identity *stored = a->identity;
    struct survey s;
    struct bm_pairing pairing;

    if (!parsed(c, 0)) {
        return refuse(MALFORMED, 0);
    }
    struct outcome o = survey(a, &s);
    if (o.status != OK) {
        return o;
    }
    bm_pairing_read(a->port, &pairing);
    begin(a, c, OK, 12);
    bm_write(&c->reply, BM_UINT, PROTOCOL);
    bm_write_string(&c->reply, BM_BYTES, s.revision, REVISION_SIZE);
    bm_write_string(&c->reply, BM_BYTES, a->image->firmware_hash, BM_HASH_SIZE);
    bm_write_string(&c->reply, BM_BYTES, a->image->anchor_hash, BM_HASH_SIZE);
    bm_write(&c->reply, BM_UINT, a->image->product);
    bm_write(&c->reply, BM_ARRAY, a->image->peer_count);
    for (unsigned i = 0; i < a->image->peer_count; i++) {
        bm_write(&c->reply, BM_UINT, a->image->peers[i]);
    }
    bm_write(&c->reply, BM_UINT, s.state);
    bm_write_string(&c->reply, BM_BYTES, s.locks, LOCKS_SIZE);
    bm_write_string(&c->reply, BM_BYTES, stored->id + stored->order_at, stored->order_size);
    bm_write_string(&c->reply, BM_BYTES, stored->id + stored->unit_at, stored->unit_size);
    if (pairing.state == BM_PAIRING_FAULT) {
        bm_write(&c->reply, BM_SIMPLE, BM_NULL);
    } else {
        bm_write(&c->reply, BM_UINT, pairing.generation);
    }
    write_closed(a, c);
    return good;
}

static struct outcome prepare(struct bm_agent *a, struct call *c)
{
    uint8_t *zone = c->request;
    struct survey s;

    if (!parsed(c, 0)) {
        return refuse(MALFORMED, 0);
    }
    struct outcome o = survey_chip(a, &s);
    if (o.status != OK) {
        return o;
    }
    if (s.state == BM_UNIT_SEALED) {
        return refuse(STATE, s.state);
    }
    int status = bm_atecc608_prepare(a->chip, zone);
    if (status != BM_OK) {
        return status == BM_ERR_STATE ? refuse(CONFIGURATION, 0) : chip_failed(a);
    }
    begin(a, c, OK, 1);
    bm_write_string(&c->reply, BM_BYTES, zone, BM_ATECC608_ZONE_SIZE);
    return good;
}

/* Prove and install want a key and an open slot 8, whatever the slot holds. */
static struct outcome expect_prepared(struct bm_agent *a, struct survey *s)
{
    struct outcome o = survey_chip(a, s);

    return o.status == OK && s->state != BM_UNIT_PREPARED ? refuse(STATE, s->state) : o;
}

/* Start a statement (docs/formats.md) in the reply's buffer, which is free until begin. */
static void begin_statement(struct bm_agent *a, struct bm_writer *w, const char *title, size_t title_size, unsigned items)
{
    bm_write_start(w, a->reply, BM_REPLY_MAX);
    bm_write(w, BM_ARRAY, items);
    bm_write_string(w, BM_TEXT, title, title_size);
}

static int sign_statement(const struct bm_agent *a, const struct bm_writer *w, uint8_t signature[BM_SIGNATURE_SIZE])
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, w->out, w->len);
    return a->port->sign(a->port->user, digest, signature);
}

static struct outcome prove(struct bm_agent *a, struct call *c)
{
    static const char title[] = "birthmark possession 1";
    uint8_t signature[BM_SIGNATURE_SIZE];
    struct survey s;
    struct bm_writer w;

    const uint8_t *challenge = bm_read_bytes(&c->arguments, CHALLENGE_SIZE);
    const uint8_t *order_name = bm_read_bytes(&c->arguments, BM_ORDER_NAME_SIZE);
    bm_read_expect(&c->arguments, BM_UINT, DIGITAL_SIGNATURE);
    if (!parsed(c, 3)) {
        return refuse(MALFORMED, 0);
    }
    struct outcome o = expect_prepared(a, &s);
    if (o.status != OK) {
        return o;
    }
    begin_statement(a, &w, title, sizeof title - 1, 7);
    bm_write_string(&w, BM_BYTES, challenge, CHALLENGE_SIZE);
    bm_write_string(&w, BM_BYTES, order_name, BM_ORDER_NAME_SIZE);
    bm_write_string(&w, BM_BYTES, a->serial, BM_CHIP_SERIAL_SIZE);
    bm_write_string(&w, BM_BYTES, a->image->firmware_hash, BM_HASH_SIZE);
    bm_write(&w, BM_UINT, DIGITAL_SIGNATURE);
    bm_write_string(&w, BM_BYTES, s.key, BM_KEY_SIZE);
    if (sign_statement(a, &w, signature) != BM_OK) {
        return chip_failed(a);
    }
    begin(a, c, OK, 3);
    bm_write_string(&c->reply, BM_BYTES, s.key, BM_KEY_SIZE);
    bm_write(&c->reply, BM_SIMPLE, BM_NULL); /* no attestation */
    bm_write_string(&c->reply, BM_BYTES, signature, BM_SIGNATURE_SIZE);
    return good;
}

/* The digest of size bytes as a byte string. */
static void write_digest(struct bm_writer *w, const uint8_t *bytes, size_t size)
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, bytes, size);
    bm_write_string(w, BM_BYTES, digest, BM_HASH_SIZE);
}

static struct outcome install(struct bm_agent *a, struct call *c)
{
    static const char title[] = "birthmark installed 1";
    uint8_t signature[BM_SIGNATURE_SIZE];
    struct survey s;
    struct bm_birth birth;
    struct bm_writer w;

    const uint8_t *challenge = bm_read_bytes(&c->arguments, CHALLENGE_SIZE);
    birth.anchor = bm_read_bytes(&c->arguments, BM_ANCHOR_SIZE);
    birth.order_size = bm_read(&c->arguments, BM_BYTES);
    birth.order = bm_read_raw(&c->arguments, birth.order_size);
    birth.unit_size = bm_read(&c->arguments, BM_BYTES);
    birth.unit = bm_read_raw(&c->arguments, birth.unit_size);
    birth.key = s.key;
    if (!parsed(c, 4)) {
        return refuse(MALFORMED, 0);
    }
    struct outcome o = expect_prepared(a, &s);
    if (o.status != OK) {
        return o;
    }
    int check = bm_trust(a->port, a->image, &birth);
    if (check != BM_OK) {
        return check == BM_ERR_PORT ? chip_failed(a) : refuse(REFUSED, (unsigned)check);
    }
    if (bm_installed_write_anchor(a->port, birth.anchor) != BM_OK) {
        return refuse(FLASH, 0);
    }
    if (bm_installed_write_certificates(a->chip, &birth, a->identity) != BM_OK) {
        return chip_failed(a);
    }
    /* What was read back is what came, byte for byte, so the hashes of either are the same. */
    begin_statement(a, &w, title, sizeof title - 1, 6);
    bm_write_string(&w, BM_BYTES, challenge, CHALLENGE_SIZE);
    bm_write_string(&w, BM_BYTES, a->serial, BM_CHIP_SERIAL_SIZE);
    write_digest(&w, birth.anchor, BM_ANCHOR_SIZE);
    write_digest(&w, birth.order, birth.order_size);
    write_digest(&w, birth.unit, birth.unit_size);
    if (sign_statement(a, &w, signature) != BM_OK) {
        return chip_failed(a);
    }
    begin(a, c, OK, 1);
    bm_write_string(&c->reply, BM_BYTES, signature, BM_SIGNATURE_SIZE);
    return good;
}

static struct outcome seal(struct bm_agent *a, struct call *c)
{
    uint8_t *zone = c->request;
    struct survey s;
    struct bm_pairing pairing;

    if (!parsed(c, 0)) {
        return refuse(MALFORMED, 0);
    }
    struct outcome o = survey(a, &s);
    if (o.status != OK) {
        return o;
    }
    if (s.state != BM_UNIT_INSTALLED) {
        return refuse(STATE, s.state);
    }
    bm_pairing_read(a->port, &pairing);
    if (pairing.state == BM_PAIRING_FAULT) {
        pairing.state = BM_PAIRING_OPEN;
        if (bm_pairing_write(a->port, &pairing) != BM_OK) {
            return refuse(FLASH, 0);
        }
    }
    a->board->debug_close(a->board->user);
    if (!a->board->debug_closed(a->board->user)) {
        return refuse(FLASH, 0); /* where a microcontroller keeps its debug lock */
    }
    /* Last, so that it alone says "sealed". */
    if (bm_atecc608_lock_slot(a->chip) != BM_OK) {
        return chip_failed(a);
    }
    if (bm_atecc608_zone(a->chip, zone) != BM_OK) {
        return chip_failed(a);
    }
    begin(a, c, OK, 3);
    bm_write_string(&c->reply, BM_BYTES, zone + BM_ATECC608_AT_LOCKS, LOCKS_SIZE);
    bm_write(&c->reply, BM_UINT, pairing.generation);
    write_closed(a, c);
    return good;
}

/* How a step of the handshake ended: not the agent's struct outcome, since a peer that is refused is no request that is. */
enum { GO_ON = 0, COMPLETE = 1, FAILED = 2 };

static int resolve(void *user, unsigned attempt, const uint8_t *id, size_t id_size, struct bm_peer *peer)
{
    struct bm_agent *a = user;
    uint8_t order_hash[BM_ORDER_HASH_SIZE];

    if (attempt > 0) {
        return BM_ERR_AUTH;
    }
    int check = bm_trust_peer(a->port, a->image, a->mode, id, id_size, peer, order_hash);
    if (check < 0) {
        return check;
    }
    a->check = (uint8_t)check;
    if (check != BM_OK && check != BM_CHECK_HELD) { /* held: no new pairing, and none is made here */
        return BM_ERR_AUTH;
    }
    return BM_OK;
}

static struct outcome start_handshake(struct bm_agent *a, int role)
{
    static const uint8_t suites[] = {2, 3};
    static const uint8_t connection[] = {0x00};
    const struct bm_identity *own = a->identity;
    struct survey s;

    struct outcome o = survey(a, &s);
    if (o.status != OK) {
        return o;
    }
    if ((s.state != BM_UNIT_INSTALLED && s.state != BM_UNIT_SEALED) || own->id_size == 0) {
        return refuse(STATE, s.state);
    }
    a->mode = s.state == BM_UNIT_INSTALLED ? BM_TRUST_STATION : BM_TRUST_UNIT;
    a->check = BM_OK;
    a->config = (struct bm_edhoc_config){
        .port = a->port,
        .resolve = resolve,
        .user = a,
        .own = {own->id, own->id_size, own->id + own->unit_at, own->unit_size},
        .suites = suites,
        .suite_count = BM_EDHOC_SUITE_COUNT,
        .methods = 1 << 0,
        .connection = connection,
        .connection_size = sizeof connection,
    };
    return bm_edhoc_start(&a->handshake, &a->config, role) == BM_OK ? good : chip_failed(a);
}

static void end_handshake(struct bm_agent *a)
{
    bm_edhoc_wipe(&a->handshake);
    a->awaited = 0;
}

static struct outcome not_now(struct bm_agent *a)
{
    struct survey s;

    struct outcome o = survey(a, &s);
    return o.status == OK ? refuse(STATE, s.state) : o;
}

/* Read message number and write the one that follows, both in the request's buffer. */
static int step(struct bm_agent *a, struct call *c, uint32_t number, size_t at, size_t size, size_t *len)
{
    int status = BM_OK;

    if (number > 0) {
        status = bm_edhoc_read(&a->handshake, c->request + at, size);
    }
    if (status == BM_OK && number < 4) {
        status = bm_edhoc_write(&a->handshake, c->request, BM_REQUEST_MAX, len);
    }
    return status;
}

static struct outcome handshake(struct bm_agent *a, struct call *c)
{
    unsigned result = FAILED;
    size_t len = 0;

    uint32_t number = bm_read(&c->arguments, BM_UINT);
    uint32_t size = bm_read(&c->arguments, BM_BYTES);
    size_t at = c->arguments.at;
    (void)bm_read_raw(&c->arguments, size);
    if (!parsed(c, 2) || number > 4 || (number == 0) != (size == 0)) {
        return refuse(MALFORMED, 0);
    }
    if (number <= 1) {
        struct outcome o = start_handshake(a, number == 0 ? BM_INITIATOR : BM_RESPONDER);
        if (o.status != OK) {
            return o;
        }
    } else if (number != a->awaited) {
        end_handshake(a);
        return not_now(a);
    }
    int status = step(a, c, number, at, size, &len);
    if (status == BM_ERR_PORT) {
        end_handshake(a);
        return chip_failed(a);
    }
    if (status == BM_OK) {
        result = number < 3 ? GO_ON : COMPLETE;
    } else if (bm_edhoc_error(&a->handshake, c->request, BM_REQUEST_MAX, &len) != BM_OK) {
        len = 0; /* the peer gave up first, and is told nothing */
    }
    if (result == GO_ON) {
        a->awaited = (uint8_t)(number + 2);
    } else {
        end_handshake(a);
    }
    begin(a, c, OK, 3);
    bm_write(&c->reply, BM_UINT, result);
    bm_write_string(&c->reply, BM_BYTES, c->request, len);
    bm_write(&c->reply, BM_UINT, a->check);
    return good;
}

/* What the trust store makes of a signed object; a refusal carries a check of docs/wire.md, status 6. */
static struct outcome judged(const struct bm_agent *a, int status)
{
    switch (status) {
    case BM_OK:
        return good;
    case BM_ERR_MALFORMED:
        return refuse(MALFORMED, 0);
    case BM_ERR_AUTH:
        return refuse(REFUSED, CHECK_OBJECT);
    case BM_ERR_STATE:
        return refuse(REFUSED, CHECK_OLD);
    case BM_ERR_SPACE:
        return refuse(FLASH, 0);
    default:
        return chip_failed(a);
    }
}

/* The image's anchor, which links continue. A unit whose order is of a later root is given both before install. */
static struct outcome take_anchor(const struct bm_agent *a, const uint8_t anchor[BM_ANCHOR_SIZE])
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, anchor, BM_ANCHOR_SIZE);
    if (!bm_equal(digest, a->image->anchor_hash, BM_HASH_SIZE)) {
        return refuse(REFUSED, BM_CHECK_ANCHOR);
    }
    return bm_installed_write_anchor(a->port, anchor) == BM_OK ? good : refuse(FLASH, 0);
}

/* Link or list: take what a root signed, and say how far trust goes then. */
static struct outcome take(struct bm_agent *a, struct call *c)
{
    struct bm_trust_version version;
    struct survey s;

    size_t size = bm_read(&c->arguments, BM_BYTES);
    const uint8_t *object = bm_read_raw(&c->arguments, size);
    if (!parsed(c, 1)) {
        return refuse(MALFORMED, 0);
    }
    struct outcome o = survey_chip(a, &s);
    if (o.status == OK && s.state != BM_UNIT_PREPARED && s.state != BM_UNIT_SEALED) {
        o = refuse(STATE, s.state);
    }
    if (o.status != OK) {
        return o;
    }
    if (c->verb == LIST) {
        o = judged(a, bm_trust_list(a->port, object, size));
    } else if (size == BM_ANCHOR_SIZE && s.state == BM_UNIT_PREPARED) {
        o = take_anchor(a, object);
    } else {
        o = judged(a, bm_trust_link(a->port, object, size));
    }
    if (o.status != OK) {
        return o;
    }
    bm_trust_version(a->port, &version);
    begin(a, c, OK, 3);
    bm_write(&c->reply, BM_UINT, version.epoch);
    bm_write(&c->reply, BM_UINT, version.list[0]);
    bm_write(&c->reply, BM_UINT, bm_get(version.list + 1, 4));
    return good;
}

/* End the unit's pairing with what a root signed for it. */
static struct outcome release(struct bm_agent *a, struct call *c)
{
    const struct bm_identity *own = a->identity;
    struct bm_certificate unit;
    struct bm_pairing pairing;
    struct survey s;

    size_t size = bm_read(&c->arguments, BM_BYTES);
    const uint8_t *object = bm_read_raw(&c->arguments, size);
    if (!parsed(c, 1)) {
        return refuse(MALFORMED, 0);
    }
    struct outcome o = survey(a, &s);
    if (o.status != OK) {
        return o;
    }
    if (s.state != BM_UNIT_SEALED || bm_c509_unit(&unit, own->id + own->unit_at, own->unit_size) != BM_OK) {
        return refuse(STATE, s.state);
    }
    bm_pairing_read(a->port, &pairing);
    if (pairing.state != BM_PAIRING_PAIRED) {
        return refuse(STATE, s.state);
    }
    o = judged(a, bm_trust_release(a->port, unit.subject, pairing.generation, object, size));
    if (o.status != OK) {
        return o;
    }
    pairing.state = BM_PAIRING_OPEN;
    pairing.generation++;
    if (bm_pairing_write(a->port, &pairing) != BM_OK) {
        return refuse(FLASH, 0);
    }
    begin(a, c, OK, 1);
    bm_write(&c->reply, BM_UINT, pairing.generation);
    return good;
}

static struct outcome execute(struct bm_agent *a, struct call *c)
{
    if (c->verb != HANDSHAKE) {
        end_handshake(a);
    }
    switch (c->verb) {
    case HELLO:
        return hello(a, c);
    case PREPARE:
        return prepare(a, c);
    case PROVE:
        return prove(a, c);
    case INSTALL:
        return install(a, c);
    case HANDSHAKE:
        return handshake(a, c);
    case SEAL:
        return seal(a, c);
    case LINK:
    case LIST:
        return take(a, c);
    case RELEASE:
        return release(a, c);
    default:
        return not_now(a);
    }
}

/* 1 if the request begins with session, sequence and verb. What does not is no request, and nothing could be answered to
 * it: noise with a good CRC, or the echo of a reply, whose verb is negative. */
static int read_call(uint8_t *request, size_t size, struct call *c)
{
    struct bm_reader *r = &c->arguments;

    c->request = request;
    bm_read_start(r, request, size);
    c->items = bm_read(r, BM_ARRAY);
    c->session = bm_read(r, BM_UINT);
    c->sequence = bm_read(r, BM_UINT);
    c->verb = bm_read(r, BM_UINT);
    return !r->bad && c->sequence <= SEQUENCE_MAX && c->verb > 0;
}

static void send(const struct bm_agent *a, uint8_t *payload, size_t size)
{
    bm_line_send(a->board->send, a->board->user, payload, size);
}

static void write_refusal(const struct bm_agent *a, struct call *c, uint8_t *out, struct outcome o)
{
    bm_write_start(&c->reply, out, BM_REPLY_MAX);
    begin(a, c, o.status, 1);
    bm_write(&c->reply, BM_UINT, o.detail);
}

size_t bm_agent_size(void)
{
    return sizeof(struct bm_agent);
}

void bm_agent_start(struct bm_agent *agent, const struct bm_image *image, const struct bm_port *port,
                    struct bm_atecc608 *chip, const struct bm_board *board, struct bm_identity *identity)
{
    bm_wipe(agent, sizeof *agent);
    agent->image = image;
    agent->port = port;
    agent->chip = chip;
    agent->board = board;
    agent->identity = identity;
}

void bm_agent_frame(struct bm_agent *a, uint8_t request[BM_REQUEST_SIZE], size_t size)
{
    struct call c;

    if (!read_call(request, size, &c)) {
        return;
    }
    int in_session = a->reply_len > 0 && c.session == a->session;
    if (in_session && c.sequence == a->sequence) {
        send(a, a->reply, a->reply_len);
        return;
    }
    if (c.verb == HELLO ? c.sequence != 0 : !in_session || c.sequence != a->sequence + 1u) {
        struct survey s;
        if (a->reply_len == 0) {
            (void)survey_chip(a, &s); /* for the serial; without it, zeros */
        }
        /* In the request's buffer: the last reply may be asked for again. */
        write_refusal(a, &c, request, refuse(SEQUENCE, 0));
        send(a, request, c.reply.len);
        return;
    }
    a->session = c.session;
    a->sequence = (uint16_t)c.sequence;
    bm_write_start(&c.reply, a->reply, BM_REPLY_MAX);
    struct outcome o = execute(a, &c);
    if (o.status != OK) {
        write_refusal(a, &c, a->reply, o);
    }
    a->reply_len = (uint16_t)c.reply.len;
    send(a, a->reply, a->reply_len);
}
