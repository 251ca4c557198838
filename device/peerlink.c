#include "peerlink.h"

#include "internal.h"

/* Types of frames (docs/peerlink.md, "Frames"). */
enum { ACKNOWLEDGEMENT = 0, TRUST = 1, LINK = 2, MESSAGE_1 = 3, MESSAGE = 4, RECORD = 5 };
/* Types of records ("Records"). */
enum { DATA = 0, LIST = 1, PAIR = 2, PAIRED = 3, DECLINED = 4, RELEASE = 5 };

/* What the meeting waits for. Those from RESPONDING on are the Responder's. */
enum {
    IDLE,
    WAIT_TRUST,
    WRITE_MESSAGE_1, /* heard the peer's trust; message_1 is not composed yet */
    WAIT_MESSAGE_2,  /* message_1 is in the out buffer */
    WAIT_MESSAGE_4,
    WAIT_LIST,
    WAIT_PAIRED,
    RESPONDING,
    WAIT_MESSAGE_1 = RESPONDING,
    WAIT_MESSAGE_3,
    WAIT_PAIR
};

/* Beside the types of frames, what may be due. */
enum { NOTHING = 0, ERROR = 6 };

enum {
    READY = 1,    /* messages may go: both units are paired with each other */
    FRESH = 2,    /* since this meeting */
    BY_VALUE = 4, /* somebody did not know a hash */
    SEND_LIST = 8,
    CONNECT = 16  /* begin as Initiator as soon as the line is free */
};

enum { HANDSHAKE = 0, SESSION = 1 }; /* channels */
enum { RETRY = 0, LIMIT = 1, PAUSE = 2 }; /* timers */

enum {
    HEADER = BM_PEERLINK_HEADER_SIZE,
    AT_SESSION = 1, /* in a header */
    AT_NUMBER = 3,
    AT_PART = 4,
    SESSION_SIZE = 2,
    NEXT_PART = 0x10,
    PART_MAX = BM_PEERLINK_PART_MAX,
    PARTS_MAX = BM_PEERLINK_PARTS_MAX,
    MESSAGE_MAX = BM_PEERLINK_IN_SIZE,
    TRUST_SIZE = 6,
    TRIES = 3,
    RESTARTS_MAX = 3,
    RETRY_MS = 1000,
    LIMIT_MS = 10000,
    PAUSE_MS = 1000,
    PAUSE_MAX_MS = 60000
};

/* {22: [-15, h'...']} up to the hash, SHA-256/64 of the certificate (RFC 9054, 2.1). */
static const uint8_t hash_prefix[] = {0xa1, 0x16, 0x82, 0x2e, 0x48};
/* {25: [unit, order]} up to the unit's certificate and its size. */
static const uint8_t value_prefix[] = {0xa1, 0x18, 0x19, 0x82, 0x58};

static void set_timer(struct bm_peerlink *p, unsigned timer, uint16_t milliseconds)
{
    p->timers[timer].left = milliseconds;
    p->timers[timer].set = 1;
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

/* The part that waits, as a frame: header, data and room for the CRC. Its header lies over the end of the part before it, which is
 * through. */
static uint8_t *frame_of_part(const struct bm_peerlink *p)
{
    return p->config->out + PART_MAX * ((p->out_part >> 4) - 1);
}

static void send_part(struct bm_peerlink *p)
{
    const struct bm_peerlink_channel *c = &p->channels[p->out_channel];
    uint8_t *frame = frame_of_part(p);
    size_t size = (size_t)(p->config->out + HEADER + p->out_size - (frame + HEADER));
    uint8_t after[BM_LINE_CRC_SIZE]; /* of the next part, where the CRC goes */

    size = HEADER + (size < PART_MAX ? size : PART_MAX);
    frame[0] = p->out_type;
    bm_copy(frame + AT_SESSION, c->out_session, SESSION_SIZE);
    frame[AT_NUMBER] = c->out_number;
    frame[AT_PART] = p->out_part;
    bm_copy(after, frame + size, sizeof after);
    send_frame(p, frame, size);
    bm_copy(frame + size, after, sizeof after);
    set_timer(p, RETRY, RETRY_MS);
}

/* Send the message of so many bytes that lies in the out buffer. */
static void post(struct bm_peerlink *p, unsigned channel, unsigned type, size_t size)
{
    p->channels[channel].out_number++;
    p->out_channel = (uint8_t)channel;
    p->out_type = (uint8_t)type;
    p->out_size = (uint16_t)size;
    p->out_part = NEXT_PART;
    for (size_t at = 0; at < size; at += PART_MAX) {
        p->out_part++;
    }
    p->tries = TRIES;
    send_part(p);
}

static void drop_out(struct bm_peerlink *p, unsigned channel)
{
    if (p->out_channel == channel) {
        p->out_part = 0;
    }
}

static void identify(uint8_t id[BM_PEERLINK_ID_SIZE], const uint8_t *unit, size_t unit_size)
{
    uint8_t digest[BM_HASH_SIZE];

    bm_sha256(digest, unit, unit_size);
    bm_copy(id, hash_prefix, sizeof hash_prefix);
    bm_copy(id + sizeof hash_prefix, digest, BM_PEERLINK_ID_SIZE - sizeof hash_prefix);
}

/* The session is over; what it has in the out buffer still goes. */
static void close_session(struct bm_peerlink *p, int event, int reason)
{
    uint8_t flags = p->flags;

    bm_session_wipe(&p->session);
    p->channels[SESSION].in_session[1] = 0;
    p->flags = (uint8_t)(flags & ~(READY | FRESH | SEND_LIST));
    p->answer = 0;
    if (flags & READY) {
        tell(p, event, reason);
    }
}

/* 1 while the pairing of this session is what flash holds: others may release it, too. */
static int still_paired(struct bm_peerlink *p)
{
    uint32_t generation = p->peer.generation;

    bm_pairing_read(p->config->port, &p->peer);
    if (p->peer.state == BM_PAIRING_PAIRED && p->peer.generation == generation) {
        return 1;
    }
    close_session(p, BM_PEERLINK_RELEASED, 0);
    return 0;
}

/* Begin a meeting: nothing is remembered that flash could contradict. */
static int begin(struct bm_peerlink *p, unsigned stage)
{
    const struct bm_port *port = p->config->port;
    const struct bm_identity *identity = p->config->identity;
    struct bm_credential *own = &p->edhoc_config.own;
    struct bm_peerlink_channel *c = &p->channels[HANDSHAKE];
    uint8_t number[32];

    p->flags &= (uint8_t)~CONNECT;
    bm_pairing_read(port, &p->peer);
    bm_trust_version(port, &p->ours);
    if (port->random(port->user, number) != BM_OK) {
        return BM_ERR_PORT;
    }
    if (p->peer.state != BM_PAIRING_PAIRED) {
        close_session(p, BM_PEERLINK_RELEASED, 0);
    }
    if (p->peer.state == BM_PAIRING_FAULT) {
        return BM_ERR_STATE;
    }
    drop_out(p, HANDSHAKE);
    bm_copy(c->out_session, number, SESSION_SIZE);
    c->out_session[1] |= 1;
    c->out_number = 0xff;
    c->in_session[1] = 0;
    own->id = identity->id;
    own->id_size = identity->id_size;
    own->cred = identity->id + identity->unit_at;
    own->cred_size = identity->unit_size;
    if (p->peer.state == BM_PAIRING_PAIRED && !(p->flags & BY_VALUE)) {
        identify(p->id, own->cred, own->cred_size);
        own->id = p->id;
        own->id_size = sizeof p->id;
    }
    p->check = 0;
    p->theirs.epoch = 0xff; /* nothing to send before it is heard */
    p->stage = (uint8_t)stage;
    p->due = NOTHING;
    set_timer(p, LIMIT, LIMIT_MS);
    return BM_OK;
}

/* The meeting is over without success. What the handshake has to say about it goes as an error message. */
static void fail(struct bm_peerlink *p, int status)
{
    int again = (status == BM_ERR_UNKNOWN || status == BM_ERR_SUITE) && p->restarts < RESTARTS_MAX;
    int responding = p->stage >= RESPONDING;

    p->stage = IDLE;
    p->due = ERROR;
    set_timer(p, LIMIT, 0);
    drop_out(p, HANDSHAKE);
    if (!(p->flags & READY)) {
        close_session(p, 0, 0);
    }
    if (again) {
        p->restarts++;
        p->flags |= (uint8_t)((status == BM_ERR_UNKNOWN ? BY_VALUE : 0) | (responding ? 0 : CONNECT));
        return;
    }
    p->restarts = 0;
    p->flags &= (uint8_t)~BY_VALUE;
    if (responding) {
        p->pause = p->pause == 0 ? PAUSE_MS : p->pause < PAUSE_MAX_MS / 2 ? (uint16_t)(2 * p->pause) : PAUSE_MAX_MS;
        set_timer(p, PAUSE, p->pause);
    }
    tell(p, BM_PEERLINK_FAILED, p->check != 0 ? p->check : status);
}

/* Both units are paired with each other. */
static void succeed(struct bm_peerlink *p)
{
    int fresh = (p->flags & FRESH) != 0;

    p->stage = IDLE;
    set_timer(p, LIMIT, 0);
    p->pause = 0;
    p->restarts = 0;
    p->flags = READY;
    tell(p, BM_PEERLINK_READY, fresh);
}

/* Judge the peer's certificate, which was judged with its order when it came. A session with a peer that is refused now is over. */
static int judge(struct bm_peerlink *p, uint8_t key[BM_KEY_SIZE])
{
    int status = bm_trust_pinned(p->config->port, p->peer.order_hash, p->peer.unit, p->peer.unit_size, key);

    p->check = status > 0 ? (uint8_t)status : 0;
    if (status > 0 && status != BM_CHECK_HELD && (p->flags & READY)) {
        close_session(p, BM_PEERLINK_CLOSED, status);
    }
    return status;
}

/* 1 if id, an ID_CRED_x, is that of the unit that this one is paired with. */
static int is_paired_with(const struct bm_peerlink *p, const uint8_t *id, size_t id_size)
{
    const struct bm_pairing *peer = &p->peer;
    uint8_t expected[BM_PEERLINK_ID_SIZE];

    identify(expected, peer->unit, peer->unit_size);
    if (id_size == sizeof expected) {
        return bm_equal(id, expected, sizeof expected);
    }
    size_t head = sizeof value_prefix + 1;
    return id_size > head + peer->unit_size && bm_equal(id, value_prefix, sizeof value_prefix) &&
           id[head - 1] == peer->unit_size && bm_equal(id + head, peer->unit, peer->unit_size);
}

/* bm_edhoc_config.resolve */
static int resolve(void *user, unsigned attempt, const uint8_t *id, size_t id_size, struct bm_peer *peer)
{
    struct bm_peerlink *p = user;
    const struct bm_identity *own = p->config->identity;
    int paired = p->peer.state == BM_PAIRING_PAIRED;
    int known = paired && is_paired_with(p, id, id_size);
    int status;

    if (attempt > 0) {
        return BM_ERR_AUTH;
    }
    if (!known && id_size == BM_PEERLINK_ID_SIZE && bm_equal(id, hash_prefix, sizeof hash_prefix)) {
        return BM_ERR_UNKNOWN;
    }
    if (known) {
        status = judge(p, peer->key);
    } else if (paired) {
        status = BM_PEERLINK_STRANGER;
    } else if (id_size == own->id_size && bm_equal(id, own->id, id_size)) {
        status = BM_CHECK_SELF;
    } else {
        status = bm_trust_peer(p->config->port, p->config->image, BM_TRUST_UNIT, id, id_size, peer, p->peer.order_hash);
        if ((status == BM_OK || status == BM_CHECK_HELD) && peer->cred_size <= BM_UNIT_CERTIFICATE_MAX) {
            bm_copy(p->peer.unit, peer->cred, peer->cred_size);
            p->peer.unit_size = (uint8_t)peer->cred_size;
        }
    }
    if (status == BM_CHECK_HELD) {
        status = BM_OK; /* pairing asks again */
    }
    p->check = status > 0 ? (uint8_t)status : 0;
    peer->cred = p->peer.unit;
    peer->cred_size = p->peer.unit_size;
    return status > 0 ? BM_ERR_AUTH : status;
}

int bm_peerlink_peer(const struct bm_peerlink *p, uint8_t serial[BM_UNIT_NAME_SIZE], uint8_t code[BM_CODE_SIZE])
{
    struct bm_certificate unit;
    uint8_t digest[BM_HASH_SIZE];

    if (bm_c509_unit(&unit, p->peer.unit, p->peer.unit_size) != BM_OK) {
        return BM_ERR_STATE;
    }
    bm_copy(serial, unit.subject, BM_UNIT_NAME_SIZE);
    bm_sha256(digest, p->peer.unit, p->peer.unit_size);
    bm_copy(code, digest, BM_CODE_SIZE);
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
    if (judge(p, NULL) != BM_OK || bm_peerlink_peer(p, serial, code) != BM_OK) {
        return 0;
    }
    p->check = BM_PEERLINK_NOT_ALLOWED;
    return p->config->pair_allowed(p->config->policy, serial, code);
}

/* Write the next record: paired with the peer of this session, or open. */
static int write_pairing(struct bm_peerlink *p, enum bm_pairing_state state)
{
    if (p->peer.state == state) {
        return BM_OK;
    }
    p->check = 0;
    p->peer.state = (uint8_t)state;
    p->peer.generation++;
    int status = bm_pairing_write(p->config->port, &p->peer);
    if (status != BM_OK) {
        p->peer.state = BM_PAIRING_FAULT; /* until flash is read again */
    }
    p->flags |= FRESH;
    return status;
}

/* 1 if the status list of a is newer than that of b. */
static int is_newer(const struct bm_trust_version *a, const struct bm_trust_version *b)
{
    return a->list_epoch != b->list_epoch ? a->list_epoch > b->list_epoch : a->list_number > b->list_number;
}

/* Initiator: ask for the pairing. */
static void ask(struct bm_peerlink *p)
{
    p->stage = WAIT_PAIRED;
    p->answer = is_welcome(p) ? PAIR : DECLINED;
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
    bm_copy((uint8_t *)&p->channels[SESSION], (const uint8_t *)&p->channels[HANDSHAKE], sizeof p->channels[SESSION]);
    if (is_newer(&p->ours, &p->theirs)) {
        p->flags |= SEND_LIST;
    }
    if (p->stage != WAIT_PAIR) {
        p->stage = WAIT_LIST;
        if (!is_newer(&p->theirs, &p->ours)) {
            ask(p);
        }
    }
}

/* Compose what the handshake has due. */
static void write_message(struct bm_peerlink *p)
{
    uint8_t *out = p->config->out + HEADER;
    uint8_t type = p->due;
    size_t size = 0;
    int status = BM_OK;

    if (type != ERROR && p->theirs.epoch < p->ours.epoch) {
        p->theirs.epoch++;
        const uint8_t *link = bm_trust_stored(p->config->port, p->theirs.epoch, &size);
        if (link != NULL && size <= MESSAGE_MAX) {
            bm_copy(out, link, size);
            post(p, HANDSHAKE, LINK, size);
        } else {
            p->theirs.epoch = p->ours.epoch;
        }
        return;
    }
    p->due = NOTHING;
    switch (type) {
    case TRUST:
        out[0] = p->ours.epoch;
        out[1] = p->ours.list_epoch;
        bm_put(out + 2, 4, p->ours.list_number);
        size = TRUST_SIZE;
        break;
    case ERROR:
        type = MESSAGE;
        status = bm_edhoc_error(&p->edhoc, out, MESSAGE_MAX, &size);
        bm_edhoc_wipe(&p->edhoc);
        if (status != BM_OK) {
            return; /* there is none */
        }
        break;
    case MESSAGE_1:
        p->stage = WAIT_MESSAGE_2;
        status = bm_edhoc_start(&p->edhoc, &p->edhoc_config, BM_INITIATOR);
        /* fall through */
    default:
        if (status == BM_OK) {
            status = bm_edhoc_write(&p->edhoc, out, MESSAGE_MAX, &size);
        }
        break;
    }
    if (status != BM_OK) {
        fail(p, status);
        return;
    }
    post(p, HANDSHAKE, type, size);
    if (p->stage == WAIT_PAIR) {
        complete(p); /* that was message_4 */
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

/* Send what the pairing has due. */
static void write_record(struct bm_peerlink *p)
{
    uint8_t type = p->answer;
    size_t size = 0;

    if (p->flags & SEND_LIST) {
        p->flags &= (uint8_t)~SEND_LIST;
        const uint8_t *list = bm_trust_stored(p->config->port, 0, &size);
        if (list == NULL || size > BM_STATUS_LIST_MAX) {
            return;
        }
        bm_copy(p->config->out + HEADER + BM_RECORD_HEADER_SIZE + 1, list, size);
        type = LIST;
    } else {
        p->answer = 0;
    }
    int status = send_record(p, type, size);
    if (status != BM_OK) {
        fail(p, status);
    } else if (type == DECLINED) {
        fail(p, BM_ERR_PORT); /* unless check says what it is */
    } else if (type == PAIRED) {
        succeed(p);
    }
}

/* Send what is due, one message at a time. */
static void pump(struct bm_peerlink *p)
{
    while (p->out_part == 0) {
        if (p->due != NOTHING) {
            write_message(p);
        } else if (p->flags & CONNECT) {
            int status = begin(p, WAIT_TRUST);
            if (status == BM_OK) {
                p->due = TRUST;
            } else {
                tell(p, BM_PEERLINK_FAILED, status);
            }
        } else if (p->answer != 0 || (p->flags & SEND_LIST)) {
            write_record(p);
        } else {
            return;
        }
    }
}

static void read_trust(struct bm_peerlink *p, const uint8_t *in, size_t size)
{
    if (p->stage != WAIT_TRUST && p->stage != WAIT_MESSAGE_1) {
        return;
    }
    if (size != TRUST_SIZE) {
        fail(p, BM_ERR_MALFORMED);
        return;
    }
    p->theirs.epoch = in[0];
    p->theirs.list_epoch = in[1];
    p->theirs.list_number = (uint32_t)bm_get(in + 2, 4);
    if (p->stage == WAIT_TRUST) {
        p->stage = WRITE_MESSAGE_1;
        p->due = MESSAGE_1;
    } else {
        p->due = TRUST;
    }
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

/* G_X in a unit's message_1: behind METHOD, SUITES_I, which is 2 or [2, 3], and its own head. */
static const uint8_t *g_x(const uint8_t *message_1)
{
    return message_1 + (message_1[1] == 2 ? 4 : 6);
}

static void read_message_1(struct bm_peerlink *p, uint8_t *in, size_t size)
{
    if (p->stage == WAIT_MESSAGE_2) { /* both have started */
        const uint8_t *ours = g_x(p->config->out + HEADER);
        const uint8_t *theirs = g_x(in);
        unsigned i = 0;
        while (i < 32 && ours[i] == theirs[i]) {
            i++;
        }
        if (i == 32) {
            p->check = BM_CHECK_SELF;
            fail(p, BM_ERR_AUTH);
            return;
        }
        if (ours[i] > theirs[i]) {
            return;
        }
        drop_out(p, HANDSHAKE);
    } else if (p->stage != WAIT_MESSAGE_1 && p->stage != WRITE_MESSAGE_1) {
        return;
    }
    p->stage = WAIT_MESSAGE_3;
    p->due = MESSAGE;
    set_timer(p, LIMIT, LIMIT_MS);
    int status = bm_edhoc_start(&p->edhoc, &p->edhoc_config, BM_RESPONDER);
    if (status == BM_OK) {
        status = bm_edhoc_read(&p->edhoc, in, size);
    }
    if (status != BM_OK) {
        fail(p, status);
    }
}

static void read_message(struct bm_peerlink *p, uint8_t *in, size_t size)
{
    uint8_t stage = p->stage;

    if ((stage != WAIT_MESSAGE_2 && stage != WAIT_MESSAGE_4 && stage != WAIT_MESSAGE_3) || p->due != NOTHING) {
        return;
    }
    int status = bm_edhoc_read(&p->edhoc, in, size);
    if (status != BM_OK) {
        fail(p, status);
        return;
    }
    set_timer(p, LIMIT, LIMIT_MS);
    if (stage == WAIT_MESSAGE_4) {
        complete(p);
    } else {
        p->stage++; /* WAIT_MESSAGE_4 or WAIT_PAIR */
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
        p->channels[SESSION].in_part = 0; /* the true one of this number is still to come */
        if (!p->session.open) {
            close_session(p, BM_PEERLINK_CLOSED, status);
        }
    }
    if (status != BM_OK || size == 0 || (text[0] >= PAIR && size > 1)) {
        return;
    }
    switch (text[0]) {
    case DATA:
        if ((p->flags & READY) && still_paired(p)) {
            config->received(config->user, text + 1, size - 1);
        }
        break;
    case LIST:
        read_list(p, text + 1, size - 1);
        break;
    case PAIR:
        if (p->stage == WAIT_PAIR) {
            p->answer = is_welcome(p) && write_pairing(p, BM_PAIRING_PAIRED) == BM_OK ? PAIRED : DECLINED;
        }
        break;
    case PAIRED:
        if (p->stage == WAIT_PAIRED && p->answer == 0) {
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
            p->check = BM_PEERLINK_DECLINED;
            fail(p, BM_ERR_PEER);
        }
        break;
    case RELEASE:
        if ((p->flags & READY) && still_paired(p)) {
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

/* 1 if a frame begins the peer's side of a conversation. */
static int is_beginning(struct bm_peerlink *p, const uint8_t *frame)
{
    if (frame[AT_NUMBER] != 0 || frame[AT_PART] >> 4 != 1) {
        return 0;
    }
    if (p->stage == WAIT_TRUST) {
        return frame[0] <= LINK && p->channels[HANDSHAKE].in_session[1] == 0;
    }
    return p->stage == IDLE && frame[0] == TRUST && p->timers[PAUSE].left == 0 && begin(p, WAIT_MESSAGE_1) == BM_OK;
}

static void acknowledge(const struct bm_peerlink *p, const uint8_t *frame)
{
    uint8_t out[HEADER + BM_LINE_CRC_SIZE];

    bm_copy(out, frame, HEADER);
    out[0] = ACKNOWLEDGEMENT;
    send_frame(p, out, HEADER);
}

/* Take a frame that carries a part, with size bytes of data. */
static void take_part(struct bm_peerlink *p, const uint8_t *frame, size_t size)
{
    unsigned channel = frame[0] == RECORD ? SESSION : HANDSHAKE;
    struct bm_peerlink_channel *c = &p->channels[channel];
    uint8_t *in = p->config->in;
    uint8_t part = frame[AT_PART];
    unsigned k = part >> 4;
    unsigned n = part & 15;

    if (k == 0 || k > n || n > PARTS_MAX || size == 0 || size > PART_MAX || (k < n && size < PART_MAX) ||
        (frame[AT_SESSION + 1] & 1) == 0) {
        return;
    }
    if (!bm_equal(frame + AT_SESSION, c->in_session, SESSION_SIZE)) {
        if (!is_beginning(p, frame)) {
            return;
        }
        bm_copy(c->in_session, frame + AT_SESSION, SESSION_SIZE);
        c->in_part = 0;
    }
    int same = frame[AT_NUMBER] == c->in_number && n == (c->in_part & 15u);
    if (same && part <= c->in_part && (k > 1 || c->in_part >> 4 == n)) {
        acknowledge(p, frame);
        return;
    }
    if (k == 1) {
        c->in_number = frame[AT_NUMBER];
        p->in_channel = (uint8_t)channel;
    } else if (!same || part != c->in_part + NEXT_PART || p->in_channel != channel) {
        return;
    }
    c->in_part = part;
    in += PART_MAX * (k - 1);
    bm_copy(in, frame + HEADER, size);
    acknowledge(p, frame);
    if (k < n) {
        return;
    }
    size += PART_MAX * (k - 1);
    in = p->config->in;
    switch (frame[0]) {
    case TRUST:
        read_trust(p, in, size);
        break;
    case LINK:
        read_link(p, in, size);
        break;
    case MESSAGE_1:
        read_message_1(p, in, size);
        break;
    case MESSAGE:
        read_message(p, in, size);
        break;
    default:
        read_record(p, in, size);
        break;
    }
}

void bm_peerlink_frame(struct bm_peerlink *p, const uint8_t *payload, size_t size)
{
    if (size < HEADER || payload[0] > RECORD) {
        return;
    }
    if (payload[0] != ACKNOWLEDGEMENT) {
        take_part(p, payload, size - HEADER);
    } else if (size == HEADER && p->out_part != 0 &&
               bm_equal(payload + AT_SESSION, frame_of_part(p) + AT_SESSION, HEADER - AT_SESSION)) {
        if (p->out_part >> 4 == (p->out_part & 15)) {
            p->out_part = 0;
        } else {
            p->out_part = (uint8_t)(p->out_part + NEXT_PART);
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
static int has_run_out(struct bm_peerlink_timer *timer, uint32_t elapsed)
{
    uint16_t left = timer->left;

    if (timer->set || left == 0) {
        timer->set = 0;
        return 0;
    }
    timer->left = elapsed < left ? (uint16_t)(left - elapsed) : 0;
    return timer->left == 0;
}

void bm_peerlink_tick(struct bm_peerlink *p, uint32_t now)
{
    uint32_t elapsed = now - p->now;

    p->now = now;
    (void)has_run_out(&p->timers[PAUSE], elapsed);
    if (has_run_out(&p->timers[LIMIT], elapsed)) {
        fail(p, BM_PEERLINK_TIMEOUT);
    }
    if (has_run_out(&p->timers[RETRY], elapsed) && p->out_part != 0) {
        p->tries--;
        if (p->tries > 0) {
            send_part(p);
        } else {
            p->out_part = 0;
            if (p->out_channel == SESSION && (p->flags & READY)) {
                tell(p, BM_PEERLINK_UNDELIVERED, 0);
            } else if (p->stage != IDLE) {
                fail(p, BM_PEERLINK_TIMEOUT);
            }
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
    p->edhoc_config.suite_count = sizeof suites;
    p->edhoc_config.methods = 1; /* method 0 */
    p->edhoc_config.connection = &connection;
    p->edhoc_config.connection_size = sizeof connection;
    bm_line_start(&p->line, config->frame, config->frame == NULL ? 0 : BM_PEERLINK_FRAME_SIZE);
    return config->identity->id_size == 0 ? BM_ERR_STATE : BM_OK;
}

int bm_peerlink_connect(struct bm_peerlink *p)
{
    if (p->stage != IDLE || (p->flags & CONNECT)) {
        return BM_ERR_STATE;
    }
    p->flags |= CONNECT;
    p->restarts = 0;
    p->edhoc_config.selected = 0;
    return BM_OK;
}

int bm_peerlink_state(const struct bm_peerlink *p)
{
    if (!(p->flags & READY)) {
        return p->stage == IDLE && !(p->flags & CONNECT) ? BM_PEERLINK_IDLE : BM_PEERLINK_MEETING;
    }
    return p->out_part != 0 || p->stage == WAIT_MESSAGE_2 ? BM_PEERLINK_SENDING : BM_PEERLINK_OPEN;
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
    bm_pairing_read(p->config->port, &p->peer);
    if (p->peer.state != BM_PAIRING_PAIRED) {
        return BM_ERR_STATE;
    }
    int status = write_pairing(p, BM_PAIRING_OPEN);
    if (status != BM_OK) {
        return status;
    }
    if (p->flags & READY) {
        (void)send_record(p, RELEASE, 0);
        p->flags &= (uint8_t)~READY; /* nobody needs to be told */
    }
    close_session(p, 0, 0);
    p->stage = IDLE;
    p->due = ERROR; /* wipes a handshake that goes on */
    set_timer(p, LIMIT, 0);
    return BM_OK;
}
