#include "peerlink.h"

#include "internal.h"

/* Types of frames (docs/peerlink.md, "Frames"). */
enum { ACKNOWLEDGEMENT = 0, TRUST = 1, LINK = 2, MESSAGE_1 = 3, MESSAGE = 4, RECORD = 5 };
/* Types of records ("Records"). */
enum { DATA = 0, LIST = 1, PAIR = 2, PAIRED = 3, DECLINED = 4, RELEASE = 5 };
/* What may be due: nothing, one of TRUST, MESSAGE_1 and MESSAGE, an error message, or A_RECORD and its type. */
enum { NOTHING = 0, ERROR = 6, A_RECORD = 8 };

/* What a meeting waits for. Those from RESPONDING on are the Responder's. */
enum {
    IDLE,
    WAIT_TRUST,
    WRITE_MESSAGE_1, /* the peer's trust is heard, message_1 not composed yet */
    WAIT_MESSAGE_2,  /* message_1 stays in the out buffer */
    WAIT_MESSAGE_4,
    WAIT_LIST,
    WAIT_PAIRED,
    RESPONDING,
    WAIT_MESSAGE_1 = RESPONDING,
    WAIT_MESSAGE_3,
    WAIT_PAIR
};

enum { HANDSHAKE = 0, SESSION = 1 }; /* channels */
enum { RETRY = 0, LIMIT = 1 };       /* timers; the latter's is also the pause after a meeting */

enum {
    HEADER = BM_PEERLINK_HEADER_SIZE,
    PLACE_SIZE = HEADER - 1, /* session, number, part: what an acknowledgement repeats */
    FIRST_PART = 0x10,
    NUMBER = 0x100,
    NO_NUMBER = 0xff00, /* the one before 0 */
    SESSION_MARK = 0x10000, /* in every session's number, so that 0 is none */
    PART_MAX = BM_PEERLINK_PART_MAX,
    MESSAGE_MAX = BM_PEERLINK_IN_SIZE,
    TRIES = 3,
    RESTARTS_MAX = 3,
    RETRY_MS = 1000,
    LIMIT_MS = 10000,
    PAUSE_MS = 1000,
    PAUSE_MAX_MS = 60000,
    TIMER_SET = 1 << 16 /* above the milliseconds */
};

/* {22: [-15, h'...']} up to the hash, SHA-256/64 of the certificate (RFC 9054, 2.1). */
static const uint8_t hash_prefix[] = {0xa1, 0x16, 0x82, 0x2e, 0x48};
/* Where {25: [unit, order]} has the unit's certificate. */
enum { AT_UNIT = 6 };

/* A timer runs from the tick after it was set, so that a chip's seconds in between do not count. */
static void set_timer(struct bm_peerlink *p, unsigned timer, uint32_t milliseconds)
{
    p->timers[timer] = milliseconds | TIMER_SET;
}

static void tell(const struct bm_peerlink *p, int event, int reason)
{
    p->config->changed(p->config->user, event, reason);
}

/* Send a frame behind a zero, which ends whatever the peer has half received: a lost end then costs that frame alone. */
static void send_frame(const struct bm_peerlink *p, uint8_t *frame, size_t size)
{
    static const uint8_t end = 0;

    p->config->send(p->config->user, &end, 1);
    bm_line_send(p->config->send, p->config->user, frame, size);
}

/* Send the part whose turn it is. Its header lies over the end of the part before it, which is through. */
static void send_part(struct bm_peerlink *p)
{
    size_t size = p->out_size - (size_t)p->out_at;
    uint8_t *frame = p->config->out + p->out_at;
    uint8_t after[BM_LINE_CRC_SIZE]; /* of the next part, where the CRC goes */

    size = HEADER + (size < PART_MAX ? size : PART_MAX);
    frame[0] = p->out_type;
    bm_put(frame + 1, PLACE_SIZE, p->channels[p->out_channel].out);
    bm_copy(after, frame + size, sizeof after);
    send_frame(p, frame, size);
    bm_copy(frame + size, after, sizeof after);
    set_timer(p, RETRY, RETRY_MS);
}

/* Send the message of so many bytes that lies in the out buffer. */
static void post(struct bm_peerlink *p, unsigned channel, unsigned type, size_t size)
{
    uint32_t *place = &p->channels[channel].out;
    uint32_t next = (*place >> 16 << 16) | ((*place + NUMBER) & NO_NUMBER) | FIRST_PART;

    for (size_t at = 0; at < size; at += PART_MAX) {
        next++;
    }
    *place = next;
    p->out_channel = (uint8_t)channel;
    p->out_type = (uint8_t)type;
    p->out_size = (uint16_t)size;
    p->out_at = 0;
    p->tries = TRIES;
    send_part(p);
}

static void drop_out(struct bm_peerlink *p, unsigned channel)
{
    if (p->out_channel == channel) {
        p->tries = 0;
    }
}

/* The first bytes of SHA-256. */
static void hash_start(uint8_t *out, size_t out_size, const uint8_t *bytes, size_t size)
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, bytes, size);
    bm_copy(out, digest, out_size);
}

/* ID_CRED_x by hash. */
static BM_NOINLINE void identify(uint8_t id[BM_PEERLINK_ID_SIZE], const uint8_t *unit, size_t unit_size)
{
    bm_copy(id, hash_prefix, sizeof hash_prefix);
    hash_start(id + sizeof hash_prefix, BM_PEERLINK_ID_SIZE - sizeof hash_prefix, unit, unit_size);
}

/* The session is over; what it has on the line still goes. */
static void close_session(struct bm_peerlink *p, int event, int reason)
{
    uint8_t ready = p->ready;

    bm_session_wipe(&p->session);
    p->channels[SESSION].in = 0;
    p->ready = 0;
    if (ready) {
        tell(p, event, reason);
    }
}

/* What flash says of the peer. */
static BM_NOINLINE void read_pairing(struct bm_peerlink *p)
{
    bm_pairing_read(p->config->port, &p->peer);
}

/* Judge the peer's certificate, which was judged with its order when it came. A session with a peer that is refused now is
 * over. */
static int judge(struct bm_peerlink *p, uint8_t *key)
{
    int status = bm_trust_pinned(p->config->port, p->peer.order_hash, p->peer.unit, p->peer.unit_size, key);

    if (status > 0 && status != BM_CHECK_HELD && p->ready) {
        close_session(p, BM_PEERLINK_CLOSED, status);
    }
    return status;
}

/* 1 while the pairing of this session is what flash holds, and its peer good by what flash holds: the production line takes
 * releases, links and lists, too. */
static int still_paired(struct bm_peerlink *p)
{
    uint32_t generation = p->peer.generation;

    read_pairing(p);
    if (p->peer.state != BM_PAIRING_PAIRED || p->peer.generation != generation) {
        close_session(p, BM_PEERLINK_RELEASED, 0);
    } else {
        (void)judge(p, NULL);
    }
    return p->ready;
}

/* Begin a meeting: nothing is remembered that flash could contradict. */
static int begin(struct bm_peerlink *p, unsigned stage)
{
    const struct bm_port *port = p->config->port;
    const struct bm_identity *identity = p->config->identity;
    struct bm_credential *own = &p->edhoc_config.own;
    struct bm_peerlink_channel *c = &p->channels[HANDSHAKE];
    uint8_t number[32];

    read_pairing(p);
    bm_trust_version(port, &p->ours);
    if (identity->id_size == 0 || port->random(port->user, number) != BM_OK) {
        return BM_ERR_PORT; /* who shares the identity could not load it */
    }
    if (p->peer.state != BM_PAIRING_PAIRED) {
        close_session(p, BM_PEERLINK_RELEASED, 0);
        if (p->peer.state == BM_PAIRING_FAULT) {
            return BM_ERR_STATE;
        }
    }
    own->id = identity->id;
    own->id_size = identity->id_size;
    own->cred = identity->id + identity->unit_at;
    own->cred_size = identity->unit_size;
    if (p->peer.state == BM_PAIRING_PAIRED && p->restarts == 0) {
        identify(p->id, own->cred, own->cred_size);
        own->id = p->id;
        own->id_size = sizeof p->id;
    }
    p->connect = 0;
    bm_edhoc_wipe(&p->edhoc);
    drop_out(p, HANDSHAKE);
    c->in = 0;
    c->out = (bm_get(number, 2) << 16) | SESSION_MARK | NO_NUMBER;
    p->check = 0;
    p->fresh = 0;
    p->theirs.epoch = 0xff; /* no link to send before it is heard */
    p->stage = (uint8_t)stage;
    p->due = NOTHING;
    set_timer(p, LIMIT, LIMIT_MS);
    return BM_OK;
}

/* The meeting is over without success. What the handshake has to say about it goes as an error message. */
static void fail(struct bm_peerlink *p, int status)
{
    int responding = p->stage >= RESPONDING;

    p->stage = IDLE;
    p->due = ERROR;
    drop_out(p, HANDSHAKE);
    if (!p->ready) {
        close_session(p, 0, 0);
    }
    if ((status == BM_ERR_UNKNOWN || status == BM_ERR_SUITE) && p->restarts < RESTARTS_MAX) {
        p->restarts++;
        p->connect = !responding;
        set_timer(p, LIMIT, 0);
        return;
    }
    p->restarts = 0;
    if (responding) {
        p->pause = p->pause == 0 ? PAUSE_MS : p->pause < PAUSE_MAX_MS / 2 ? (uint16_t)(2 * p->pause) : PAUSE_MAX_MS;
    }
    set_timer(p, LIMIT, p->pause);
    tell(p, BM_PEERLINK_FAILED, p->check != 0 ? p->check : status);
}

/* Both units are paired with each other. */
static void succeed(struct bm_peerlink *p)
{
    p->stage = IDLE;
    p->pause = 0;
    p->restarts = 0;
    p->ready = 1;
    set_timer(p, LIMIT, 0);
    tell(p, BM_PEERLINK_READY, p->fresh);
}

/* Keep why the peer is refused, if it is: BM_OK or what resolve returns. */
static int keep_check(struct bm_peerlink *p, int status)
{
    p->check = status > 0 ? (uint8_t)status : 0;
    return status > 0 ? BM_ERR_AUTH : status;
}

/* Judge who shows himself to an open unit, and keep him. */
static int meet(struct bm_peerlink *p, const uint8_t *id, size_t id_size, struct bm_peer *peer)
{
    const struct bm_identity *own = p->config->identity;

    if (id_size == own->id_size && bm_equal(id, own->id, id_size)) {
        return BM_CHECK_SELF;
    }
    int status = bm_trust_peer(p->config->port, p->config->image, BM_TRUST_UNIT, id, id_size, peer, p->peer.order_hash);
    if (status == BM_OK || status == BM_CHECK_HELD) {
        bm_copy(p->peer.unit, peer->cred, peer->cred_size);
        p->peer.unit_size = (uint8_t)peer->cred_size;
    }
    return status;
}

/* bm_edhoc_config.resolve */
static int resolve(void *user, unsigned attempt, const uint8_t *id, size_t id_size, struct bm_peer *peer)
{
    struct bm_peerlink *p = user;
    size_t unit_size = p->peer.unit_size;
    int status = BM_PEERLINK_STRANGER;

    if (attempt > 0) {
        return BM_ERR_AUTH;
    }
    if (id_size == BM_PEERLINK_ID_SIZE && bm_equal(id, hash_prefix, sizeof hash_prefix)) {
        uint8_t expected[BM_PEERLINK_ID_SIZE];
        identify(expected, p->peer.unit, unit_size);
        if (p->peer.state != BM_PAIRING_PAIRED || !bm_equal(id, expected, sizeof expected)) {
            return BM_ERR_UNKNOWN;
        }
        status = judge(p, peer->key);
    } else if (p->peer.state != BM_PAIRING_PAIRED) {
        status = meet(p, id, id_size, peer);
    } else if (id_size > AT_UNIT + unit_size && bm_equal(id + AT_UNIT, p->peer.unit, unit_size)) {
        status = judge(p, peer->key);
    }
    peer->cred = p->peer.unit;
    peer->cred_size = p->peer.unit_size;
    return keep_check(p, status == BM_CHECK_HELD ? BM_OK : status); /* pairing asks again */
}

int bm_peerlink_peer(const struct bm_peerlink *p, uint8_t serial[BM_UNIT_NAME_SIZE], uint8_t code[BM_CODE_SIZE])
{
    struct bm_certificate unit;

    if (bm_c509_unit(&unit, p->peer.unit, p->peer.unit_size) != BM_OK) {
        return BM_ERR_STATE;
    }
    bm_copy(serial, unit.subject, BM_UNIT_NAME_SIZE);
    hash_start(code, BM_CODE_SIZE, p->peer.unit, p->peer.unit_size);
    return BM_OK;
}

/* 1 if the peer of this session is or may become the peer of this unit; else check says why not, unless the port failed. */
static int is_welcome(struct bm_peerlink *p)
{
    uint8_t serial[BM_UNIT_NAME_SIZE];
    uint8_t code[BM_CODE_SIZE];

    if (p->peer.state == BM_PAIRING_PAIRED) {
        return 1;
    }
    if (keep_check(p, judge(p, NULL)) != BM_OK || bm_peerlink_peer(p, serial, code) != BM_OK) {
        return 0;
    }
    if (p->config->pair_allowed(p->config->policy, serial, code)) {
        return 1;
    }
    p->check = BM_PEERLINK_NOT_ALLOWED;
    return 0;
}

/* Write the next record: paired with the peer of this session, or open. */
static int write_pairing(struct bm_peerlink *p, enum bm_pairing_state state)
{
    if (p->peer.state == state) {
        return BM_OK;
    }
    p->check = 0;
    p->fresh = 1;
    p->peer.state = (uint8_t)state;
    p->peer.generation++;
    int status = bm_pairing_write(p->config->port, &p->peer);
    if (status != BM_OK) {
        read_pairing(p); /* either counts */
    }
    return status;
}

/* Initiator: ask for the pairing. */
static void ask(struct bm_peerlink *p)
{
    p->stage = WAIT_PAIRED;
    p->due = (uint8_t)(is_welcome(p) ? A_RECORD + PAIR : A_RECORD + DECLINED);
}

/* The handshake is complete: its session takes the place of the one before it. */
static void complete(struct bm_peerlink *p)
{
    close_session(p, BM_PEERLINK_CLOSED, 0);
    drop_out(p, SESSION);
    int status = bm_session_start(&p->session, &p->edhoc);
    if (status != BM_OK) {
        fail(p, status);
        return;
    }
    p->channels[SESSION] = p->channels[HANDSHAKE];
    if (p->stage != WAIT_PAIR) {
        p->stage = WAIT_LIST;
    }
    int newer = bm_compare(p->ours.list, p->theirs.list, sizeof p->ours.list);
    if (newer > 0) {
        p->due = A_RECORD + LIST;
    } else if (newer == 0 && p->stage == WAIT_LIST) {
        ask(p);
    }
}

/* Seal and send the record whose content, size bytes, lies in its place in the out buffer. */
static int send_record(struct bm_peerlink *p, unsigned type, size_t size)
{
    uint8_t *record = p->config->out + HEADER;

    record[BM_RECORD_HEADER_SIZE] = (uint8_t)type;
    int status = bm_session_seal(&p->session, p->config->port, record, MESSAGE_MAX, 1 + size, &size);
    if (status == BM_OK) {
        post(p, SESSION, RECORD, size);
    } else if (status == BM_ERR_STATE) {
        close_session(p, BM_PEERLINK_CLOSED, status);
    }
    return status;
}

/* Copy a stored link or status list into the out buffer. Its size, 0 if there is none. */
static size_t copy_stored(struct bm_peerlink *p, unsigned epoch, uint8_t *out)
{
    size_t size;
    const uint8_t *stored = bm_trust_stored(p->config->port, epoch, &size);

    if (size > BM_SIGNED_OBJECT_MAX) {
        return 0;
    }
    bm_copy(out, stored, size);
    return size;
}

/* Compose and send what is due. */
static int compose(struct bm_peerlink *p)
{
    uint8_t *out = p->config->out + HEADER;
    unsigned type = p->due;
    size_t size = 0;
    int status = BM_OK;

    if (type < ERROR && p->theirs.epoch < p->ours.epoch) {
        p->theirs.epoch++;
        size = copy_stored(p, p->theirs.epoch, out);
        if (size > 0) {
            post(p, HANDSHAKE, LINK, size);
        } else {
            p->theirs.epoch = p->ours.epoch;
        }
        return BM_OK;
    }
    p->due = NOTHING;
    if (type >= A_RECORD) {
        type -= A_RECORD;
        if (type == LIST) {
            size = copy_stored(p, 0, out + BM_RECORD_HEADER_SIZE + 1);
        }
        status = send_record(p, type, size);
        if (status != BM_OK || type == DECLINED) {
            return status != BM_OK ? status : BM_ERR_PORT; /* unless check says what it is */
        }
        if (type == PAIRED) {
            succeed(p);
        } else if (p->stage == WAIT_LIST) {
            ask(p);
        }
        return BM_OK;
    }
    if (type == TRUST) {
        size = sizeof p->ours;
        bm_copy(out, (const uint8_t *)&p->ours, size);
    } else if (type == ERROR) {
        type = MESSAGE;
        status = bm_edhoc_error(&p->edhoc, out, MESSAGE_MAX, &size);
        bm_edhoc_wipe(&p->edhoc);
        if (status != BM_OK) {
            return BM_OK; /* there is none */
        }
    } else {
        if (type == MESSAGE_1) {
            p->stage = WAIT_MESSAGE_2;
            status = bm_edhoc_start(&p->edhoc, &p->edhoc_config, BM_INITIATOR);
            if (status != BM_OK) {
                return status;
            }
        }
        status = bm_edhoc_write(&p->edhoc, out, MESSAGE_MAX, &size);
        if (status != BM_OK) {
            return status;
        }
    }
    post(p, HANDSHAKE, type, size);
    if (p->stage == WAIT_PAIR) {
        complete(p); /* that was message_4 */
    }
    return BM_OK;
}

/* Send what is due, one message at a time. */
static void pump(struct bm_peerlink *p)
{
    while (p->tries == 0) {
        if (p->due != NOTHING) {
            int status = compose(p);
            if (status != BM_OK) {
                fail(p, status);
            }
        } else if (p->connect) {
            int status = begin(p, WAIT_TRUST);
            p->due = TRUST;
            if (status != BM_OK) {
                p->due = NOTHING;
                p->connect = 0;
                tell(p, BM_PEERLINK_FAILED, status);
                return; /* a product may connect again at once; that waits for the next tick */
            }
        } else {
            return;
        }
    }
}

static void read_trust(struct bm_peerlink *p, const uint8_t *in, size_t size)
{
    if (size != sizeof p->theirs) {
        return;
    }
    if (p->stage == WAIT_TRUST) {
        p->stage = WRITE_MESSAGE_1;
        p->due = MESSAGE_1;
    } else if (p->stage == WAIT_MESSAGE_1) {
        p->due = TRUST;
    } else {
        return;
    }
    bm_copy((uint8_t *)&p->theirs, in, size);
}

static void read_link(struct bm_peerlink *p, const uint8_t *in, size_t size)
{
    uint8_t epoch = p->ours.epoch;

    if (p->stage != IDLE && bm_trust_link(p->config->port, in, size) == BM_OK) {
        bm_trust_version(p->config->port, &p->ours);
        if (p->ours.epoch != epoch) {
            set_timer(p, LIMIT, LIMIT_MS);
        }
    }
}

/* The first bytes of G_X in a unit's message_1: behind METHOD, SUITES_I, which is 2 or [2, 3], and its own head. */
static BM_NOINLINE uint32_t g_x(const uint8_t *message_1)
{
    return bm_get(message_1 + (message_1[1] == 2 ? 4 : 6), 4);
}

/* Any message of the handshake; whether it is message_1 or another is the frame's word. */
static void read_message(struct bm_peerlink *p, unsigned type, uint8_t *in, size_t size)
{
    int status = BM_OK;

    if (type == MESSAGE_1) {
        if (p->stage == WAIT_MESSAGE_2) { /* both have started */
            uint32_t ours = g_x(p->config->out + HEADER);
            uint32_t theirs = g_x(in);
            if (ours == theirs) {
                fail(p, BM_CHECK_SELF); /* or one chance in 2^32 */
                return;
            }
            if (ours > theirs) {
                return;
            }
            drop_out(p, HANDSHAKE);
        } else if (p->stage != WAIT_MESSAGE_1 && p->stage != WRITE_MESSAGE_1) {
            return;
        }
        p->stage = WAIT_MESSAGE_1;
        status = bm_edhoc_start(&p->edhoc, &p->edhoc_config, BM_RESPONDER);
    } else if ((p->stage != WAIT_MESSAGE_2 && p->stage != WAIT_MESSAGE_4 && p->stage != WAIT_MESSAGE_3) || p->due != NOTHING) {
        return;
    }
    if (status == BM_OK) {
        status = bm_edhoc_read(&p->edhoc, in, size);
    }
    if (status != BM_OK) {
        fail(p, status);
        return;
    }
    set_timer(p, LIMIT, LIMIT_MS);
    if (p->stage == WAIT_MESSAGE_4) {
        complete(p);
    } else {
        p->stage++; /* WAIT_MESSAGE_4, WAIT_MESSAGE_3 or WAIT_PAIR */
        p->due = MESSAGE;
    }
}

/* The peer's status list, and what is left of the peer by it. */
static void read_list(struct bm_peerlink *p, const uint8_t *list, size_t size)
{
    int status = bm_trust_list(p->config->port, list, size);

    status = judge(p, NULL); /* whether it was good, old or bad */
    if (status != BM_OK && status != BM_CHECK_HELD) {
        if (p->stage != IDLE) {
            fail(p, status);
        }
    } else if (p->stage == WAIT_LIST) {
        ask(p);
    }
}

static void read_record(struct bm_peerlink *p, uint8_t *in, size_t size)
{
    const struct bm_peerlink_config *config = p->config;
    const uint8_t *text = in + BM_RECORD_HEADER_SIZE;

    int status = bm_session_open(&p->session, config->port, in, size, &size);
    if (status != BM_OK) {
        p->channels[SESSION].in &= ~(uint32_t)0xff; /* the true one of this number is still to come */
        if (!p->session.open) {
            close_session(p, BM_PEERLINK_CLOSED, status);
        }
        return;
    }
    if (size == 0 || (text[0] >= PAIR && size > 1)) {
        return;
    }
    switch (text[0]) {
    case DATA:
        if (p->ready && still_paired(p)) {
            config->received(config->user, text + 1, size - 1);
        }
        break;
    case LIST:
        read_list(p, text + 1, size - 1);
        break;
    case PAIR:
        if (p->stage == WAIT_PAIR) {
            p->due = A_RECORD + DECLINED;
            if (is_welcome(p) && write_pairing(p, BM_PAIRING_PAIRED) == BM_OK) {
                p->due = A_RECORD + PAIRED;
            }
        }
        break;
    case PAIRED:
        if (p->stage == WAIT_PAIRED && p->due == NOTHING) {
            status = write_pairing(p, BM_PAIRING_PAIRED);
            if (status == BM_OK) {
                succeed(p);
            } else {
                fail(p, status);
            }
        }
        break;
    case DECLINED:
        if (p->stage == WAIT_PAIRED || p->stage == WAIT_PAIR) {
            p->check = 0;
            fail(p, BM_PEERLINK_DECLINED);
        }
        break;
    case RELEASE:
        if (p->ready && still_paired(p)) {
            status = BM_PEERLINK_NOT_ALLOWED;
            if (config->release_allowed != NULL && config->release_allowed(config->user)) {
                status = write_pairing(p, BM_PAIRING_OPEN);
            }
            close_session(p, status == BM_OK ? BM_PEERLINK_RELEASED : BM_PEERLINK_CLOSED, status);
        }
        break;
    default:
        break;
    }
}

/* 1 if the first part of message 0 begins the peer's side of a conversation. */
static int is_beginning(struct bm_peerlink *p, unsigned type)
{
    if (p->stage == WAIT_TRUST) {
        return type <= LINK && p->channels[HANDSHAKE].in == 0;
    }
    return p->stage == IDLE && type == TRUST && (uint16_t)p->timers[LIMIT] == 0 && begin(p, WAIT_MESSAGE_1) == BM_OK;
}

/* Take a frame that carries a part, with size bytes of data. */
static void take_part(struct bm_peerlink *p, const uint8_t *frame, size_t size)
{
    unsigned type = frame[0];
    unsigned channel = type == RECORD ? SESSION : HANDSHAKE;
    uint32_t place = bm_get(frame + 1, PLACE_SIZE);
    uint32_t *last = &p->channels[channel].in;
    uint8_t *in = p->config->in;
    unsigned k = place >> 4 & 15;
    unsigned n = place & 15;
    uint8_t acknowledgement[HEADER + BM_LINE_CRC_SIZE];

    if (n > BM_PEERLINK_PARTS_MAX || k - 1 >= n || size == 0 || size > PART_MAX || (k < n && size < PART_MAX) ||
        (place & SESSION_MARK) == 0) {
        return;
    }
    size_t at = PART_MAX * (k - 1);
    int begins = (place & NO_NUMBER) == 0 && k == 1 && place != *last && is_beginning(p, type);
    if (!begins && (place ^ *last) >> 16 != 0) {
        return;
    }
    int again = place == *last && k == n; /* its acknowledgement was lost */
    if (!again) {
        if (k > 1 && (p->in_channel != channel || (place != *last && place != *last + FIRST_PART))) {
            return;
        }
        p->in_channel = (uint8_t)channel;
        *last = place;
        bm_copy(in + at, frame + HEADER, size);
    }
    acknowledgement[0] = ACKNOWLEDGEMENT;
    bm_copy(acknowledgement + 1, frame + 1, PLACE_SIZE);
    send_frame(p, acknowledgement, HEADER);
    if (again || k < n) {
        return;
    }
    size += at;
    switch (type) {
    case TRUST:
        read_trust(p, in, size);
        break;
    case LINK:
        read_link(p, in, size);
        break;
    case RECORD:
        read_record(p, in, size);
        break;
    default:
        read_message(p, type, in, size);
        break;
    }
}

void bm_peerlink_frame(struct bm_peerlink *p, const uint8_t *payload, size_t size)
{
    uint32_t *place = &p->channels[p->out_channel].out;

    if (size < HEADER || payload[0] > RECORD) {
        return;
    }
    if (payload[0] != ACKNOWLEDGEMENT) {
        take_part(p, payload, size - HEADER);
    } else if (size == HEADER && p->tries > 0 && bm_get(payload + 1, PLACE_SIZE) == *place) {
        p->tries = 0;
        if (p->out_at + PART_MAX < p->out_size) {
            p->out_at += PART_MAX;
            *place += FIRST_PART;
            p->tries = TRIES;
            send_part(p);
        }
    }
    pump(p);
}

void bm_peerlink_receive(struct bm_peerlink *p, uint8_t byte)
{
    size_t size;

    if (bm_line_receive(&p->line, byte, &size)) {
        bm_peerlink_frame(p, p->config->frame, size);
    }
}

/* Let a timer run on. 1 if it ran out now. */
static BM_NOINLINE int has_run_out(uint32_t *timer, uint32_t elapsed)
{
    uint32_t left = *timer;

    if (left == 0 || left >= TIMER_SET) {
        *timer = (uint16_t)left;
        return 0;
    }
    *timer = elapsed < left ? left - elapsed : 0;
    return *timer == 0;
}

void bm_peerlink_tick(struct bm_peerlink *p, uint32_t now)
{
    uint32_t elapsed = now - p->now;

    p->now = now;
    if (has_run_out(&p->timers[LIMIT], elapsed) && p->stage != IDLE) {
        fail(p, BM_PEERLINK_TIMEOUT);
    }
    if (has_run_out(&p->timers[RETRY], elapsed) && p->tries > 0) {
        p->tries--;
        if (p->tries > 0) {
            send_part(p);
        } else if (p->out_channel == SESSION && p->ready) {
            tell(p, BM_PEERLINK_UNDELIVERED, 0);
        } else if (p->stage != IDLE && (p->out_channel == HANDSHAKE || p->session.open)) {
            fail(p, BM_PEERLINK_TIMEOUT); /* not for the last record of a session that is over */
        }
    }
    pump(p);
}

size_t bm_peerlink_size(void)
{
    return sizeof(struct bm_peerlink);
}

int bm_peerlink_start(struct bm_peerlink *p, const struct bm_peerlink_config *config, uint32_t now)
{
    static const uint8_t suites[] = {2, 3};
    static const uint8_t connection = 0;

    bm_wipe(p, sizeof *p);
    p->config = config;
    p->now = now;
    p->edhoc_config.port = config->port;
    p->edhoc_config.resolve = resolve;
    p->edhoc_config.user = p;
    p->edhoc_config.suites = suites;
    p->edhoc_config.suite_count = BM_EDHOC_SUITE_COUNT;
    p->edhoc_config.methods = 1; /* method 0 */
    p->edhoc_config.connection = &connection;
    p->edhoc_config.connection_size = sizeof connection;
    bm_line_start(&p->line, config->frame, config->frame == NULL ? 0 : BM_PEERLINK_FRAME_SIZE);
    read_pairing(p);
    return config->identity->id_size == 0 ? BM_ERR_STATE : BM_OK;
}

int bm_peerlink_connect(struct bm_peerlink *p)
{
    if (p->stage != IDLE || p->connect) {
        return BM_ERR_STATE;
    }
    p->connect = 1;
    p->restarts = 0;
    p->edhoc_config.selected = 0;
    return BM_OK;
}

int bm_peerlink_state(const struct bm_peerlink *p)
{
    if (!p->ready) {
        return p->stage == IDLE && !p->connect ? BM_PEERLINK_IDLE : BM_PEERLINK_MEETING;
    }
    return p->tries > 0 || p->stage == WAIT_MESSAGE_2 ? BM_PEERLINK_SENDING : BM_PEERLINK_OPEN;
}

int bm_peerlink_send(struct bm_peerlink *p, const uint8_t *message, size_t size)
{
    if (size > BM_PEERLINK_MESSAGE_MAX) {
        return BM_ERR_SPACE;
    }
    if (bm_peerlink_state(p) != BM_PEERLINK_OPEN || !still_paired(p)) {
        return BM_ERR_STATE;
    }
    bm_copy(p->config->out + HEADER + BM_RECORD_HEADER_SIZE + 1, message, size);
    return send_record(p, DATA, size);
}

int bm_peerlink_unpair(struct bm_peerlink *p)
{
    read_pairing(p);
    if (p->peer.state != BM_PAIRING_PAIRED) {
        return BM_ERR_STATE;
    }
    int status = write_pairing(p, BM_PAIRING_OPEN);
    if (status != BM_OK) {
        return status;
    }
    if (p->ready) {
        (void)send_record(p, RELEASE, 0); /* who does not hear it is paired with nobody */
        p->ready = 0;
    }
    close_session(p, 0, 0);
    p->stage = IDLE;
    p->due = ERROR; /* wipes a handshake that goes on */
    set_timer(p, LIMIT, 0);
    return BM_OK;
}
