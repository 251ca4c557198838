#include "peerlink.h"

#include "stubs.h"

/* The link over all that it calls, which may answer in any way: each call checks what it is given and writes what it may write,
 * in full. */

static uint8_t in[BM_PEERLINK_IN_SIZE];
static uint8_t out[BM_PEERLINK_OUT_SIZE];
static struct bm_image image;
static struct bm_identity identity;
static struct bm_peerlink link;

static int any_answer(void)
{
    return Frama_C_interval(BM_ERR_PEER, BM_OK);
}

void bm_line_start(struct bm_line *line, uint8_t *buffer, size_t size)
{
    (void)buffer, (void)size;
    any(line, sizeof *line);
}

int bm_line_receive(struct bm_line *line, uint8_t byte, size_t *payload_len)
{
    (void)line, (void)byte, (void)payload_len;
    return 0;
}

void bm_line_send(void (*send)(void *user, const uint8_t *bytes, size_t size), void *user, uint8_t *payload,
                  size_t payload_size)
{
    use(payload, payload_size);
    any(payload + payload_size, BM_LINE_CRC_SIZE);
    send(user, payload, payload_size + BM_LINE_CRC_SIZE);
}

void bm_edhoc_wipe(struct bm_edhoc *e)
{
    any(e, sizeof *e);
}

int bm_edhoc_start(struct bm_edhoc *e, struct bm_edhoc_config *config, int role)
{
    (void)config, (void)role;
    any(e, sizeof *e);
    return any_answer();
}

/* The identifier lies in an object for the longest; identifier, below, is for those that end where they end. */
int bm_edhoc_read(struct bm_edhoc *e, uint8_t *message, size_t size)
{
    static uint8_t id[BM_PEERLINK_IN_SIZE];

    use(message, size);
    any(message, size);
    any(e, sizeof *e);
    if (Frama_C_interval(0, 1)) {
        struct bm_peer peer;
        any(id, sizeof id);
        (void)link.edhoc_config.resolve(link.edhoc_config.user, (unsigned)Frama_C_interval(0, BM_EDHOC_ATTEMPTS - 1), id,
                                        (size_t)Frama_C_interval(1, sizeof id), &peer);
    }
    return any_answer();
}

int bm_edhoc_write(struct bm_edhoc *e, uint8_t *bytes, size_t size, size_t *len)
{
    any(e, sizeof *e);
    any(bytes, size);
    *len = (size_t)Frama_C_interval(1, (int)size);
    return any_answer();
}

int bm_edhoc_error(struct bm_edhoc *e, uint8_t *bytes, size_t size, size_t *len)
{
    return bm_edhoc_write(e, bytes, size, len);
}

void bm_session_wipe(struct bm_session *s)
{
    any(s, sizeof *s);
}

int bm_session_start(struct bm_session *s, struct bm_edhoc *e)
{
    any(s, sizeof *s);
    any(e, sizeof *e);
    return any_answer();
}

int bm_session_seal(struct bm_session *s, const struct bm_port *port, uint8_t *record, size_t record_size, size_t text_size,
                    size_t *record_len)
{
    (void)port;
    any(s, sizeof *s);
    *record_len = 0;
    if (record_size < BM_RECORD_OVERHEAD || text_size > record_size - BM_RECORD_OVERHEAD) {
        return BM_ERR_SPACE;
    }
    use(record + BM_RECORD_HEADER_SIZE, text_size);
    any(record, record_size);
    *record_len = text_size + BM_RECORD_OVERHEAD;
    return any_answer();
}

int bm_session_open(struct bm_session *s, const struct bm_port *port, uint8_t *record, size_t record_size, size_t *text_len)
{
    (void)port;
    any(s, sizeof *s);
    use(record, record_size);
    any(record, record_size);
    *text_len = 0;
    if (record_size < BM_RECORD_OVERHEAD) {
        return BM_ERR_MALFORMED;
    }
    *text_len = (size_t)Frama_C_interval(0, BM_PEERLINK_IN_SIZE - BM_RECORD_OVERHEAD);
    return any_answer();
}

void bm_pairing_read(const struct bm_port *port, struct bm_pairing *pairing)
{
    (void)port;
    any(pairing, sizeof *pairing);
    pairing->unit_size = (uint8_t)Frama_C_interval(0, BM_UNIT_CERTIFICATE_MAX);
}

int bm_pairing_write(const struct bm_port *port, const struct bm_pairing *pairing)
{
    (void)port;
    use(pairing, sizeof *pairing);
    return any_answer();
}

static int any_check(void)
{
    return Frama_C_interval(0, 1) ? Frama_C_interval(BM_CHECK_ANCHOR, BM_CHECK_ID) : any_answer();
}

int bm_trust_peer(const struct bm_port *port, const struct bm_image *p_image, int mode, const uint8_t *id, size_t id_size,
                  struct bm_peer *peer, uint8_t order_hash[BM_ORDER_HASH_SIZE])
{
    static uint8_t cred[BM_UNIT_CERTIFICATE_MAX];

    (void)port, (void)p_image, (void)mode;
    use(id, id_size);
    any(cred, sizeof cred);
    peer->cred = cred;
    peer->cred_size = (size_t)Frama_C_interval(1, sizeof cred);
    any(peer->key, BM_KEY_SIZE);
    any(order_hash, BM_ORDER_HASH_SIZE);
    return any_check();
}

int bm_trust_pinned(const struct bm_port *port, const uint8_t order_hash[BM_ORDER_HASH_SIZE], const uint8_t *unit,
                    size_t unit_size, uint8_t key[BM_KEY_SIZE])
{
    (void)port;
    use(order_hash, BM_ORDER_HASH_SIZE);
    use(unit, unit_size);
    if (key != NULL) {
        any(key, BM_KEY_SIZE);
    }
    return any_check();
}

void bm_trust_version(const struct bm_port *port, struct bm_trust_version *version)
{
    (void)port;
    any(version, sizeof *version);
}

int bm_trust_link(const struct bm_port *port, const uint8_t *bytes, size_t size)
{
    (void)port;
    use(bytes, size);
    return any_answer();
}

int bm_trust_list(const struct bm_port *port, const uint8_t *list, size_t size)
{
    return bm_trust_link(port, list, size);
}

/* As much as a page has, which is more than an object may be. */
const uint8_t *bm_trust_stored(const struct bm_port *port, unsigned epoch, size_t *size)
{
    static uint8_t page[2048];

    (void)port, (void)epoch;
    any(page, sizeof page);
    *size = Frama_C_interval(0, 1) ? (size_t)Frama_C_interval(1, sizeof page) : 0;
    return *size > 0 ? page : NULL;
}

static int random_any(void *user, uint8_t bytes[32])
{
    (void)user;
    return stub_output(bytes, 32);
}

static void send_any(void *user, const uint8_t *bytes, size_t size)
{
    (void)user;
    use(bytes, size);
    ACCEPTED();
}

static void received_any(void *user, const uint8_t *message, size_t size)
{
    (void)user;
    use(message, size);
}

/* A product that connects again whatever it is told, or does not. */
static void changed_any(void *user, int event, int reason)
{
    (void)user, (void)event, (void)reason;
    if (Frama_C_interval(0, 1)) {
        (void)bm_peerlink_connect(&link);
    }
}

static int allowed_any(void *user)
{
    (void)user;
    return Frama_C_interval(0, 1);
}

static int pair_any(void *policy, const uint8_t serial[BM_UNIT_NAME_SIZE], const uint8_t code[BM_CODE_SIZE])
{
    (void)policy;
    use(serial, BM_UNIT_NAME_SIZE);
    use(code, BM_CODE_SIZE);
    return Frama_C_interval(0, 1);
}

/* What holds of a link between two calls, and is enough for each. */
static void check(void)
{
    /*@ assert link.stage <= 10 && link.due <= 8 + 5 && link.out_channel <= 1 && link.out_size <= BM_PEERLINK_IN_SIZE; */
    /*@ assert link.out_at <= BM_PEERLINK_IN_SIZE - BM_PEERLINK_PART_MAX && link.out_at % BM_PEERLINK_PART_MAX == 0; */
    /*@ assert link.peer.unit_size <= BM_UNIT_CERTIFICATE_MAX; */
}

/* A link of which no more is known than that. */
static void start(void)
{
    static const struct bm_port port = {.random = random_any};
    static const struct bm_peerlink_config config = {.port = &port, .image = &image, .identity = &identity, .in = in, .out = out,
        .send = send_any, .received = received_any, .changed = changed_any, .release_allowed = allowed_any,
        .pair_allowed = pair_any};

    any(in, sizeof in);
    any(out, sizeof out);
    any(&image, sizeof image);
    any(identity.id, sizeof identity.id);
    identity.id_size = (uint16_t)Frama_C_interval(0, BM_ID_CRED_MAX);
    identity.unit_at = (uint8_t)Frama_C_interval(5, 6);
    identity.unit_size = (uint8_t)Frama_C_interval(1, BM_UNIT_CERTIFICATE_MAX);
    identity.order_at = (uint16_t)Frama_C_interval(7, 8 + BM_UNIT_CERTIFICATE_MAX);
    identity.order_size = (uint8_t)Frama_C_interval(1, BM_ORDER_CERTIFICATE_MAX);
    (void)bm_peerlink_start(&link, &config, 0);
    link.stage = (uint8_t)Frama_C_interval(0, 10);
    link.due = (uint8_t)Frama_C_interval(0, 8 + 5);
    link.connect = (uint8_t)Frama_C_interval(0, 1);
    link.ready = (uint8_t)Frama_C_interval(0, 1);
    link.fresh = (uint8_t)Frama_C_interval(0, 1);
    link.restarts = (uint8_t)Frama_C_interval(0, 3);
    link.check = (uint8_t)Frama_C_interval(0, 255);
    link.tries = (uint8_t)Frama_C_interval(0, 3);
    link.in_channel = (uint8_t)Frama_C_interval(0, 1);
    link.out_channel = (uint8_t)Frama_C_interval(0, 1);
    link.out_type = (uint8_t)Frama_C_interval(0, 5);
    any(&link.ours, sizeof link.ours);
    any(&link.theirs, sizeof link.theirs);
    link.out_size = (uint16_t)Frama_C_interval(0, BM_PEERLINK_IN_SIZE);
    link.out_at = (uint16_t)(BM_PEERLINK_PART_MAX * Frama_C_interval(0, BM_PEERLINK_PARTS_MAX - 1));
    any(&link.pause, sizeof link.pause);
    any(link.timers, sizeof link.timers);
    any(link.channels, sizeof link.channels);
    link.edhoc_config.selected = (uint8_t)Frama_C_interval(0, 1);
    link.edhoc_config.own.id = identity.id;
    link.edhoc_config.own.id_size = identity.id_size;
    link.edhoc_config.own.cred = identity.id + identity.unit_at;
    link.edhoc_config.own.cred_size = identity.unit_size;
    bm_pairing_read(&port, &link.peer);
    any(link.id, sizeof link.id);
    any(&link.edhoc, sizeof link.edhoc);
    any(&link.session, sizeof link.session);
}

void frame(void)
{
    FOR_EACH_SIZE(size) {
        start();
        bm_peerlink_frame(&link, INPUT(size), size);
        check();
    }
}

/* An identifier that EDHOC found in a message, which ends where its object ends. */
void identifier(void)
{
    FOR_EACH_SIZE(size) {
        struct bm_peer peer;
        start();
        if (link.edhoc_config.resolve(&link, (unsigned)Frama_C_interval(0, BM_EDHOC_ATTEMPTS - 1), INPUT(size), size, &peer) ==
            BM_OK) {
            use(peer.cred, peer.cred_size);
            ACCEPTED();
        }
        check();
    }
}

/* A product's message. */
void send(void)
{
    FOR_EACH_SIZE(size) {
        start();
        (void)bm_peerlink_send(&link, INPUT(size), size);
        check();
    }
}

/* What else a product calls. */
void call(void)
{
    start();
    switch (Frama_C_interval(0, 3)) {
    case 0:
        bm_peerlink_tick(&link, Frama_C_unsigned_int_interval(0, 0xffffffff));
        break;
    case 1:
        (void)bm_peerlink_connect(&link);
        break;
    case 2:
        (void)bm_peerlink_unpair(&link);
        break;
    default: {
        uint8_t serial[BM_UNIT_NAME_SIZE];
        uint8_t code[BM_CODE_SIZE];
        if (bm_peerlink_peer(&link, serial, code) == BM_OK) {
            use(serial, sizeof serial);
            use(code, sizeof code);
        }
    }
    }
    check();
}
