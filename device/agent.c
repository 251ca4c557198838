#include "agent.h"

#include "installed.h"
#include "internal.h"

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
    SEQUENCE_MAX = 255,
    REQUEST_ITEMS = 3,    /* session, sequence, verb */
    REPLY_ITEMS = 5,      /* session, sequence, verb, status, serial */
    DIGITAL_SIGNATURE = 1, /* keyUsage */
    ARGUMENTS_MAX = 4,
    CHECK_OBJECT = 17,     /* these two go on from enum bm_peer_check */
    CHECK_OLD = 18
};

/* An argument of a verb. */
struct argument {
    uint32_t size;        /* or the value, of a uint */
    const uint8_t *bytes; /* in the request */
};

/* What the station sent, and where the reply goes. */
struct call {
    uint32_t items;
    uint32_t session;
    uint32_t sequence;
    uint32_t verb;
    uint8_t *request; /* BM_REQUEST_SIZE bytes, free once the arguments are no longer needed */
    struct bm_reader reader;
    struct argument arguments[ARGUMENTS_MAX];
    struct bm_writer reply;
};

/* How a verb ended: OK, or another status and its detail, which refuse packs. */
typedef unsigned outcome;

static outcome refuse(enum reply_status status, unsigned detail)
{
    return (unsigned)status | detail << 8;
}

static outcome chip_failed(const struct bm_agent *a)
{
    return refuse(CHIP, a->chip->status);
}

/* The chip's part of a survey, which never says BM_UNIT_INSTALLED: that takes the certificates. The reply's buffer is free
 * until begin, and spares the stack a zone. */
static outcome survey_chip(struct bm_agent *a)
{
    uint8_t *zone = a->reply;

    if (bm_atecc608_zone(a->chip, zone) != BM_OK) {
        return chip_failed(a);
    }
    bm_atecc608_serial(zone, a->serial);
    bm_copy(a->unit.revision, zone + BM_ATECC608_AT_REVISION, BM_REVISION_SIZE);
    bm_copy(a->unit.locks, zone + BM_ATECC608_AT_LOCKS, BM_LOCKS_SIZE);
    return bm_atecc608_state(a->chip, zone, &a->unit.state, a->unit.key) == BM_OK ? OK : chip_failed(a);
}

/* A prepared unit is installed if what it stores would pass install's checks again. */
static outcome judge(struct bm_agent *a)
{
    const struct bm_identity *stored = a->identity;
    const uint8_t *anchor = bm_installed_anchor(a->port);

    if (anchor == NULL) {
        return OK;
    }
    struct bm_birth birth = {
        .anchor = anchor,
        .order = stored->id + stored->order_at,
        .order_size = stored->order_size,
        .unit = stored->id + stored->unit_at,
        .unit_size = stored->unit_size,
        .key = a->unit.key,
    };
    int status = bm_trust(a->port, a->image, &birth);
    if (status == BM_OK) {
        a->unit.state = BM_UNIT_INSTALLED;
    }
    return status == BM_ERR_PORT ? chip_failed(a) : OK;
}

/* The whole survey, and the identity as slot 8 has it at this moment, unless the last one still holds. */
static outcome survey(struct bm_agent *a)
{
    if (a->unit.valid) {
        return OK;
    }
    outcome o = survey_chip(a);
    bm_wipe(a->identity, sizeof *a->identity);
    if (o != OK || (a->unit.state != BM_UNIT_PREPARED && a->unit.state != BM_UNIT_SEALED)) {
        return o;
    }
    if (bm_installed_load(a->chip, a->identity) != BM_OK) {
        return chip_failed(a);
    }
    return a->unit.state == BM_UNIT_PREPARED && a->identity->id_size > 0 ? judge(a) : OK;
}

static void put(struct call *c, enum bm_major major, uint32_t argument)
{
    bm_write(&c->reply, major, argument);
}

static void put_bytes(struct call *c, const uint8_t *bytes, size_t size)
{
    bm_write_string(&c->reply, BM_BYTES, bytes, size);
}

/* Start a reply of status OK or, with one result, of another. */
static void begin(const struct bm_agent *a, struct call *c, unsigned status, unsigned results)
{
    put(c, BM_ARRAY, REPLY_ITEMS + results);
    put(c, BM_UINT, c->session);
    put(c, BM_UINT, c->sequence);
    put(c, BM_NINT, c->verb - 1); /* -verb */
    put(c, BM_UINT, status);
    put_bytes(c, a->serial, BM_CHIP_SERIAL_SIZE);
}

/* The last result of both hello and seal. */
static void put_closed(const struct bm_agent *a, struct call *c)
{
    put(c, BM_SIMPLE, a->board->debug_closed(a->board->user) ? BM_TRUE : BM_FALSE);
}

/* ChipOptions that prepare gives a chip. */
static unsigned chip_options(const struct bm_agent *a)
{
#ifdef BM_CONFIG_IO_KEY
    return bm_atecc608_options(a->chip);
#else
    (void)a;
    return 0;
#endif
}

static outcome hello(struct bm_agent *a, struct call *c)
{
    const struct bm_identity *stored = a->identity;
    const struct bm_image *image = a->image;
    unsigned options = chip_options(a);
    struct bm_pairing *pairing = &a->memory.pairing;

    bm_pairing_read(a->port, pairing);
    begin(a, c, OK, options == 0 ? 12 : 13);
    put(c, BM_UINT, PROTOCOL);
    put_bytes(c, a->unit.revision, BM_REVISION_SIZE);
    put_bytes(c, image->firmware_hash, BM_HASH_SIZE);
    put_bytes(c, image->anchor_hash, BM_HASH_SIZE);
    put(c, BM_UINT, image->product);
    put(c, BM_ARRAY, image->peer_count);
    /*@ loop unroll BM_PEERS_MAX; */
    for (unsigned i = 0; i < image->peer_count; i++) {
        put(c, BM_UINT, image->peers[i]);
    }
    put(c, BM_UINT, a->unit.state);
    put_bytes(c, a->unit.locks, BM_LOCKS_SIZE);
    put_bytes(c, stored->id + stored->order_at, stored->order_size);
    put_bytes(c, stored->id + stored->unit_at, stored->unit_size);
    if (pairing->state == BM_PAIRING_FAULT) {
        put(c, BM_SIMPLE, BM_NULL);
    } else {
        put(c, BM_UINT, pairing->generation);
    }
    put_closed(a, c);
    if (options != 0) {
        put(c, BM_UINT, options);
    }
    return OK;
}

static outcome prepare(struct bm_agent *a, struct call *c)
{
    uint8_t *zone = c->request;
    uint8_t *attestation = zone + BM_ATECC608_ZONE_SIZE;

    int status = bm_atecc608_prepare(a->chip, zone, a->unit.key, attestation);
#ifdef BM_CONFIG_IO_KEY
    if (status == BM_ERR_SPACE) {
        return refuse(FLASH, 0);
    }
#endif
    if (status != BM_OK) {
        return status == BM_ERR_STATE ? refuse(CONFIGURATION, 0) : chip_failed(a);
    }
    if (a->unit.state == BM_UNIT_BLANK) {
        a->unit.state = BM_UNIT_PREPARED;
    }
    begin(a, c, OK, 2);
    put_bytes(c, zone, BM_ATECC608_ZONE_SIZE);
    put_bytes(c, attestation, BM_KEY_SIZE);
    return OK;
}

/* Start a statement (docs/formats.md) in the reply's buffer, which is free until begin: its title, the station's challenge. */
static void begin_statement(struct bm_agent *a, struct call *c, const char *title, size_t title_size, unsigned items)
{
    bm_write_start(&c->reply, a->reply, BM_REPLY_MAX);
    put(c, BM_ARRAY, items);
    bm_write_string(&c->reply, BM_TEXT, title, title_size);
    put_bytes(c, c->arguments[0].bytes, CHALLENGE_SIZE);
}

/* Sign the statement, whose digest stays; the reply begins where it lay. */
static int sign_statement(struct bm_agent *a, struct call *c, uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE])
{
    bm_sha256(digest, a->reply, c->reply.len);
    bm_write_start(&c->reply, a->reply, BM_REPLY_MAX);
    return a->port->sign(a->port->user, digest, signature);
}

static outcome prove(struct bm_agent *a, struct call *c)
{
    static const char title[] = "birthmark possession 1";
    uint8_t digest[BM_HASH_SIZE];
    uint8_t *signature = c->request; /* the statement has the arguments by then */
    uint8_t *attestation = signature + BM_SIGNATURE_SIZE;

    begin_statement(a, c, title, sizeof title - 1, 7);
    put_bytes(c, c->arguments[1].bytes, BM_ORDER_NAME_SIZE);
    put_bytes(c, a->serial, BM_CHIP_SERIAL_SIZE);
    put_bytes(c, a->image->firmware_hash, BM_HASH_SIZE);
    put(c, BM_UINT, DIGITAL_SIGNATURE);
    put_bytes(c, a->unit.key, BM_KEY_SIZE);
    /* The chip's own statement is bound to the unit's by its digest. */
    if (sign_statement(a, c, digest, signature) != BM_OK || bm_atecc608_attest(a->chip, digest, attestation) != BM_OK) {
        return chip_failed(a);
    }
    begin(a, c, OK, 3);
    put_bytes(c, a->unit.key, BM_KEY_SIZE);
    put_bytes(c, attestation, BM_SIGNATURE_SIZE);
    put_bytes(c, signature, BM_SIGNATURE_SIZE);
    return OK;
}

static outcome install(struct bm_agent *a, struct call *c)
{
    static const char title[] = "birthmark installed 1";
    const struct argument *given = c->arguments; /* challenge, anchor, order, unit */
    uint8_t digest[BM_HASH_SIZE];
    uint8_t *signature = c->request; /* the statement has the arguments by then */
    struct bm_birth birth = {
        .anchor = given[1].bytes,
        .order = given[2].bytes,
        .order_size = given[2].size,
        .unit = given[3].bytes,
        .unit_size = given[3].size,
        .key = a->unit.key,
    };

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
    begin_statement(a, c, title, sizeof title - 1, 6);
    put_bytes(c, a->serial, BM_CHIP_SERIAL_SIZE);
    for (unsigned i = 1; i < ARGUMENTS_MAX; i++) {
        bm_sha256(digest, given[i].bytes, given[i].size);
        put_bytes(c, digest, BM_HASH_SIZE);
    }
    if (sign_statement(a, c, digest, signature) != BM_OK) {
        return chip_failed(a);
    }
    a->unit.state = BM_UNIT_INSTALLED;
    begin(a, c, OK, 1);
    put_bytes(c, signature, BM_SIGNATURE_SIZE);
    return OK;
}

static outcome seal(struct bm_agent *a, struct call *c)
{
    uint8_t *block = c->request;
    struct bm_pairing *pairing = &a->memory.pairing;

    bm_pairing_read(a->port, pairing);
    if (pairing->state == BM_PAIRING_FAULT) {
        pairing->state = BM_PAIRING_OPEN;
        if (bm_pairing_write(a->port, pairing) != BM_OK) {
            return refuse(FLASH, 0);
        }
    }
    a->board->debug_close(a->board->user);
    if (!a->board->debug_closed(a->board->user)) {
        return refuse(FLASH, 0); /* where a microcontroller keeps its debug lock */
    }
    /* Last, so that it alone says "sealed". */
    if (bm_atecc608_lock_slot(a->chip, block) != BM_OK) {
        return chip_failed(a);
    }
    a->unit.state = BM_UNIT_SEALED;
    begin(a, c, OK, 3);
    put_bytes(c, block + BM_ATECC608_AT_LOCKS % BM_ATECC608_BLOCK_SIZE, BM_LOCKS_SIZE);
    put(c, BM_UINT, pairing->generation);
    put_closed(a, c);
    return OK;
}

/* How a step of the handshake ended: no outcome, since a peer that is refused is no request that is. */
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

static outcome start_handshake(struct bm_agent *a, int role)
{
    static const uint8_t suites[] = {2, 3};
    static const uint8_t connection[] = {0x00};
    const struct bm_identity *own = a->identity;

    if (own->id_size == 0) { /* a sealed unit's slot is not judged */
        return refuse(STATE, a->unit.state);
    }
    a->mode = a->unit.state == BM_UNIT_INSTALLED ? BM_TRUST_STATION : BM_TRUST_UNIT;
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
    return bm_edhoc_start(&a->memory.handshake, &a->config, role) == BM_OK ? OK : chip_failed(a);
}

static void end_handshake(struct bm_agent *a)
{
    bm_edhoc_wipe(&a->memory.handshake);
    a->awaited = 0;
}

static outcome handshake(struct bm_agent *a, struct call *c)
{
    uint32_t number = c->arguments[0].size;
    uint32_t size = c->arguments[1].size;
    unsigned result = FAILED;
    int status = BM_OK;
    size_t len = 0;

    if (number <= 1) {
        outcome o = start_handshake(a, number == 0 ? BM_INITIATOR : BM_RESPONDER);
        if (o != OK) {
            return o;
        }
    } else if (number != a->awaited) {
        end_handshake(a);
        return refuse(STATE, a->unit.state);
    }
    /* Message number is read, and the one that follows written, both in the request's buffer. */
    if (number > 0) {
        status = bm_edhoc_read(&a->memory.handshake, c->request + (c->reader.size - size), size);
    }
    if (status == BM_OK && number < 4) {
        status = bm_edhoc_write(&a->memory.handshake, c->request, BM_REQUEST_MAX, &len);
    }
    if (status == BM_ERR_PORT) {
        end_handshake(a);
        return chip_failed(a);
    }
    if (status == BM_OK) {
        result = number < 3 ? GO_ON : COMPLETE;
    } else if (bm_edhoc_error(&a->memory.handshake, c->request, BM_REQUEST_MAX, &len) != BM_OK) {
        len = 0; /* the peer gave up first, and is told nothing */
    }
    if (result == GO_ON) {
        a->awaited = (uint8_t)(number + 2);
    } else {
        end_handshake(a);
    }
    begin(a, c, OK, 3);
    put(c, BM_UINT, result);
    put_bytes(c, c->request, len);
    put(c, BM_UINT, a->check);
    return OK;
}

/* What the trust store makes of a signed object; a refusal carries a check of docs/wire.md, status 6. */
static outcome judged(const struct bm_agent *a, int status)
{
    switch (status) {
    case BM_OK:
        return OK;
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
static outcome take_anchor(const struct bm_agent *a, const uint8_t anchor[BM_ANCHOR_SIZE])
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, anchor, BM_ANCHOR_SIZE);
    if (!bm_equal(digest, a->image->anchor_hash, BM_HASH_SIZE)) {
        return refuse(REFUSED, BM_CHECK_ANCHOR);
    }
    return bm_installed_write_anchor(a->port, anchor) == BM_OK ? OK : refuse(FLASH, 0);
}

/* Link or list: take what a root signed, and say how far trust goes then. */
static outcome take(struct bm_agent *a, struct call *c)
{
    const uint8_t *object = c->arguments[0].bytes;
    size_t size = c->arguments[0].size;
    struct bm_trust_version version;
    outcome o;

    if (c->verb == LIST) {
        o = judged(a, bm_trust_list(a->port, object, size));
    } else if (size == BM_ANCHOR_SIZE && a->unit.state != BM_UNIT_SEALED) {
        o = take_anchor(a, object);
    } else {
        o = judged(a, bm_trust_link(a->port, object, size));
    }
    if (o != OK) {
        return o;
    }
    /* It may say otherwise of certificates that are stored. */
    a->unit.valid = a->unit.state == BM_UNIT_SEALED;
    bm_trust_version(a->port, &version);
    begin(a, c, OK, 3);
    put(c, BM_UINT, version.epoch);
    put(c, BM_UINT, version.list[0]);
    put(c, BM_UINT, bm_get(version.list + 1, 4));
    return OK;
}

/* End the unit's pairing with what a root signed for it. */
static outcome release(struct bm_agent *a, struct call *c)
{
    const struct bm_identity *own = a->identity;
    struct bm_certificate unit;
    struct bm_pairing *pairing = &a->memory.pairing;

    bm_pairing_read(a->port, pairing);
    if (pairing->state != BM_PAIRING_PAIRED || bm_c509_unit(&unit, own->id + own->unit_at, own->unit_size) != BM_OK) {
        return refuse(STATE, a->unit.state);
    }
    outcome o =
        judged(a, bm_trust_release(a->port, unit.subject, pairing->generation, c->arguments[0].bytes, c->arguments[0].size));
    if (o != OK) {
        return o;
    }
    pairing->state = BM_PAIRING_OPEN;
    pairing->generation++;
    if (bm_pairing_write(a->port, pairing) != BM_OK) {
        return refuse(FLASH, 0);
    }
    begin(a, c, OK, 1);
    put(c, BM_UINT, pairing->generation);
    return OK;
}

enum {
    A_UINT = 0,
    THE_USAGE = DIGITAL_SIGNATURE, /* a uint that is this */
    ANY_SIZE = 0xff                /* a byte string, as are all others: of so many bytes */
};
enum {
    BLANK = 1 << BM_UNIT_BLANK,
    PREPARED = 1 << BM_UNIT_PREPARED,
    INSTALLED = 1 << BM_UNIT_INSTALLED,
    SEALED = 1 << BM_UNIT_SEALED,
    FOREIGN = 1 << BM_UNIT_FOREIGN
};

/* The table of docs/wire.md, "Verbs". */
static const struct {
    uint8_t states; /* in which it is allowed */
    uint8_t count;  /* of arguments */
    uint8_t sizes[ARGUMENTS_MAX];
} verbs[] = {
    [HELLO] = {BLANK | PREPARED | INSTALLED | SEALED | FOREIGN, 0, {0}},
    [PREPARE] = {BLANK | PREPARED | INSTALLED | FOREIGN, 0, {0}}, /* it says itself what is foreign */
    [PROVE] = {PREPARED | INSTALLED, 3, {CHALLENGE_SIZE, BM_ORDER_NAME_SIZE, THE_USAGE}},
    [INSTALL] = {PREPARED | INSTALLED, 4, {CHALLENGE_SIZE, BM_ANCHOR_SIZE, ANY_SIZE, ANY_SIZE}},
    [HANDSHAKE] = {INSTALLED | SEALED, 2, {A_UINT, ANY_SIZE}},
    [SEAL] = {INSTALLED, 0, {0}},
    [LINK] = {PREPARED | INSTALLED | SEALED, 1, {ANY_SIZE}},
    [LIST] = {PREPARED | INSTALLED | SEALED, 1, {ANY_SIZE}},
    [RELEASE] = {SEALED, 1, {ANY_SIZE}},
};

/* 1 if the arguments are what the verb has, and nothing follows. */
static int read_arguments(struct call *c)
{
    struct bm_reader *r = &c->reader;
    unsigned count = verbs[c->verb].count;

    for (unsigned i = 0; i < count; i++) {
        unsigned size = verbs[c->verb].sizes[i];
        struct argument *argument = &c->arguments[i];
        argument->size = bm_read(r, size <= THE_USAGE ? BM_UINT : BM_BYTES);
        if (size != A_UINT && size != ANY_SIZE && size != argument->size) {
            return 0;
        }
        if (size > THE_USAGE) {
            argument->bytes = bm_read_raw(r, argument->size);
        }
    }
    if (c->verb == HANDSHAKE && (c->arguments[0].size > 4 || (c->arguments[0].size == 0) != (c->arguments[1].size == 0))) {
        return 0; /* messages 1 to 4, and none for 0 */
    }
    return c->items == REQUEST_ITEMS + count && bm_read_end(r) == BM_OK;
}

static outcome execute(struct bm_agent *a, struct call *c)
{
    if (c->verb != HANDSHAKE) {
        end_handshake(a);
    }
    if (c->verb > RELEASE) {
        outcome o = survey(a);
        return o == OK ? refuse(STATE, a->unit.state) : o;
    }
    /*@ split c->verb; */
    if (!read_arguments(c)) {
        return refuse(MALFORMED, 0);
    }
    if (c->verb == HELLO) {
        a->unit.valid = 0;
    }
    outcome o = survey(a);
    if (o != OK) {
        return o;
    }
    if ((verbs[c->verb].states >> a->unit.state & 1) == 0) {
        return refuse(STATE, a->unit.state);
    }
    a->unit.valid = 1;
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
    case RELEASE:
        return release(a, c);
    default:
        return take(a, c);
    }
}

/* 1 if the request begins with session, sequence and verb. What does not is no request, and nothing could be answered to
 * it: noise with a good CRC, or the echo of a reply, whose verb is negative. */
static int read_call(uint8_t *request, size_t size, struct call *c)
{
    struct bm_reader *r = &c->reader;

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

static void write_refusal(const struct bm_agent *a, struct call *c, uint8_t *out, outcome o)
{
    bm_write_start(&c->reply, out, BM_REPLY_MAX);
    begin(a, c, o & 0xff, 1);
    put(c, BM_UINT, o >> 8);
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
        if (a->reply_len == 0) {
            (void)survey(a); /* for the serial; without it, zeros */
        }
        /* In the request's buffer: the last reply may be asked for again. */
        write_refusal(a, &c, request, refuse(SEQUENCE, 0));
        send(a, request, c.reply.len);
        return;
    }
    a->session = c.session;
    a->sequence = (uint16_t)c.sequence;
    bm_write_start(&c.reply, a->reply, BM_REPLY_MAX);
    outcome o = execute(a, &c);
    if (o != OK) {
        a->unit.valid = 0;
        write_refusal(a, &c, a->reply, o);
    }
    a->reply_len = (uint16_t)c.reply.len;
    send(a, a->reply, a->reply_len);
}
