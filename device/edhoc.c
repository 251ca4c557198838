#include "edhoc.h"

#include "internal.h"

/* EDHOC_KDF labels of RFC 9528, 4.1.2 by the message that they belong to: 2 and 3; 3 and 4. */
enum { LABEL_OUT = 7, LABEL_EXPORTER = 10, LABEL_UPDATE = 11 };
#define LABEL_SALT(n) (4u * (n) - 7)
#define LABEL_MAC(n) (4u * (n) - 6)
#define LABEL_KEY(n) (5u * (n) - 12)

enum {
    COORDINATE = 32, /* G_X, G_Y: the x-coordinate alone */
    KID = 4,         /* COSE header parameter, RFC 9052, 3.1 */
    BUILT_IN_SUITES = 2
};

/* A_3 and A_4 are this and TH (5.4.2, 5.5.2): ["Encrypt0", h'', TH]. */
static const uint8_t aad[BM_EDHOC_AAD_SIZE - BM_HASH_SIZE] = {0x83, 0x68, 'E', 'n', 'c', 'r', 'y',
                                                              'p',  't',  '0', 0x40, 0x58, 0x20};

/* What of a message the MAC, the signature and the transcript hash cover. */
struct statement {
    const uint8_t *connection; /* C_R, or nothing */
    size_t connection_size;
    const uint8_t *id;         /* ID_CRED_x as the plaintext has it */
    size_t id_size;
    size_t prefix_size;        /* of id_prefix, which makes ID_CRED_x of it */
    const uint8_t *cred;
    size_t cred_size;
    const uint8_t *ead;
    size_t ead_size;
};

/* {4: h'XX'} up to the kid; without the last byte where kid comes with its own head. */
static const uint8_t id_prefix[] = {0xa1, KID, 0x41};

static uint8_t *th(struct bm_edhoc *e)
{
    return e->aad + sizeof aad;
}

static size_t tag_size(const struct bm_edhoc *e)
{
    return e->suite == 2 ? 8 : 16;
}

/* 1 if the authentication key behind message n, 2 or 3, is a static Diffie-Hellman key (3.2). */
static int is_static(unsigned method, unsigned n)
{
#ifdef BM_CONFIG_NO_STATIC_DH
    (void)method, (void)n;
    return 0;
#else
    return (int)(method >> (n & 1) & 1);
#endif
}

/* Wipe and keep what bm_edhoc_error needs; error is an ERR_CODE, 0 for none. */
static int fail(struct bm_edhoc *e, int status, uint8_t error)
{
    struct bm_edhoc_config *config = e->config;

    bm_edhoc_wipe(e);
    e->config = config;
    e->error = error;
    return status;
}

/* The index among the own suites of one that is built in, or suite_count. */
static unsigned find_suite(const struct bm_edhoc_config *config, uint32_t suite)
{
    unsigned i = 0;

    while (i < config->suite_count && config->suites[i] != suite) {
        i++;
    }
#ifdef BM_CONFIG_NO_SUITE_3
    return suite == 2 ? i : config->suite_count;
#else
    return suite >> 1 == 1 ? i : config->suite_count;
#endif
}

/* Read suites (5.2.1), one or an array of several. Returns the best by the own preference, suite_count if there is none in
 * common; *selected is 1 if the last is supported and none before it is. */
static unsigned read_suites(const struct bm_edhoc_config *config, struct bm_reader *r, int *selected)
{
    unsigned best = config->suite_count;
    uint32_t count = 1;

    if (bm_read_peek(r) == BM_ARRAY) {
        count = bm_read(r, BM_ARRAY);
        r->bad |= count < 2;
    }
    *selected = 1;
    for (; count > 0 && !r->bad; count--) {
        enum bm_major major = bm_read_peek(r);
        uint32_t suite = bm_read(r, major == BM_NINT ? BM_NINT : BM_UINT);
        unsigned index = major == BM_NINT ? config->suite_count : find_suite(config, suite);
        *selected &= (index < config->suite_count) == (count == 1);
        best = index < best ? index : best;
    }
    return best;
}

/* Pass over a byte string or an integer of one byte. A string that an integer stands for is refused (3.3.2). */
static void read_identifier(struct bm_reader *r)
{
    if (bm_read_peek(r) != BM_BYTES) {
        const uint8_t *byte = bm_read_raw(r, 1);
        r->bad |= byte == NULL || *byte >> 6 != 0 || (*byte & 31) > 23;
        return;
    }
    size_t size = bm_read(r, BM_BYTES);
    const uint8_t *bytes = bm_read_raw(r, size);
    r->bad |= size == 1 && bytes != NULL && *bytes >> 6 == 0 && (*bytes & 31) <= 23;
}

/* Pass over EAD (3.8), to the end: none is known, so a critical item, which has a negative label, is refused. */
static void read_ead(struct bm_reader *r)
{
    while (!r->bad && r->at < r->size) {
        (void)bm_read(r, BM_UINT);
        if (bm_read_peek(r) == BM_BYTES) {
            bm_read_skip(r);
        }
    }
}

static int from_port(int status)
{
    return status == BM_OK ? BM_OK : BM_ERR_PORT;
}

/* port->ecdh into prk: HKDF-Extract with salt, which may be prk. */
static int extract(const struct bm_edhoc *e, uint8_t prk[BM_PRK_SIZE], const uint8_t *salt, int own, const uint8_t *peer)
{
    static const uint8_t zero[32];
    const struct bm_port *port = e->config->port;
    uint8_t secret[32];
    int status = from_port(port->ecdh(port->user, own, peer, secret));

    if (bm_equal(secret, zero, sizeof secret)) {
        status = BM_ERR_PORT;
    }
    bm_hkdf_extract(prk, salt, secret);
    bm_wipe(secret, sizeof secret);
    return status;
}

/* From G_Y and the ephemeral keys to TH_2 and PRK_2e (5.3.2). */
static int agree(struct bm_edhoc *e, const uint8_t g_y[COORDINATE])
{
    struct bm_sha256 h;

    bm_sha256_init(&h);
    bm_hash_head(&h, BM_BYTES, COORDINATE);
    bm_sha256_update(&h, g_y, COORDINATE);
    bm_sha256_update(&h, th(e) - 2, 2 + BM_HASH_SIZE);
    bm_sha256_final(&h, th(e));
    return extract(e, e->prk, th(e), BM_KEY_EPHEMERAL, e->peer);
}

/* The peer's ephemeral key from its x-coordinate; which y does not matter, as ECDH gives x alone. */
static int read_point(struct bm_edhoc *e, const uint8_t x[COORDINATE])
{
    uint8_t compressed[BM_COMPRESSED_SIZE];

    compressed[0] = 2;
    bm_copy(compressed + 1, x, COORDINATE);
    return bm_p256_recover(e->peer, compressed);
}

/* New ephemeral key; its x-coordinate goes to x. */
static int write_point(const struct bm_edhoc *e, uint8_t x[COORDINATE])
{
    const struct bm_port *port = e->config->port;
    uint8_t key[BM_KEY_SIZE];
    int status = from_port(port->ephemeral(port->user, key));

    bm_copy(x, key, COORDINATE);
    return status;
}

static void hash_external(struct bm_sha256 *h, struct bm_edhoc *e, const struct statement *s)
{
    bm_sha256_update(h, th(e) - 2, 2 + BM_HASH_SIZE);
    bm_sha256_update(h, s->cred, s->cred_size);
    bm_sha256_update(h, s->ead, s->ead_size);
}

static void hash_id(struct bm_sha256 *h, const struct statement *s)
{
    bm_sha256_update(h, id_prefix, s->prefix_size);
    bm_sha256_update(h, s->id, s->id_size);
}

/* MAC_2 or MAC_3: EDHOC_KDF(prk, label, context, size), of at most 32 bytes, with context
 * << ? C_R, ID_CRED_x, TH, CRED_x, ? EAD >> (5.3.2, 5.4.2). */
static void compute_mac(struct bm_edhoc *e, const struct statement *s, const uint8_t prk[BM_PRK_SIZE], size_t size,
                        uint8_t mac[BM_HASH_SIZE])
{
    static const uint8_t block = 1;
    size_t context_size =
        s->connection_size + s->prefix_size + s->id_size + 2 + BM_HASH_SIZE + s->cred_size + s->ead_size;
    struct bm_sha256 h;

    bm_hmac_start(&h, prk);
    bm_hash_head(&h, BM_UINT, LABEL_MAC(e->state));
    bm_hash_head(&h, BM_BYTES, (uint32_t)context_size);
    bm_sha256_update(&h, s->connection, s->connection_size);
    hash_id(&h, s);
    hash_external(&h, e, s);
    bm_hash_head(&h, BM_UINT, (uint32_t)size);
    bm_sha256_update(&h, &block, 1);
    bm_hmac_final(&h, prk, mac);
}

/* The digest that is signed: Sig_structure of RFC 9052, 4.4, with external_aad << TH, CRED_x, ? EAD >> and the MAC as payload. mac
 * becomes the digest. */
static void sig_structure(struct bm_edhoc *e, const struct statement *s, uint8_t mac[BM_HASH_SIZE])
{
    static const uint8_t context[] = {0x84, 0x6a, 'S', 'i', 'g', 'n', 'a', 't', 'u', 'r', 'e', '1'};
    struct bm_sha256 h;

    bm_sha256_init(&h);
    bm_sha256_update(&h, context, sizeof context);
    bm_hash_head(&h, BM_BYTES, (uint32_t)(s->prefix_size + s->id_size));
    hash_id(&h, s);
    bm_hash_head(&h, BM_BYTES, (uint32_t)(2 + BM_HASH_SIZE + s->cred_size + s->ead_size));
    hash_external(&h, e, s);
    bm_hash_head(&h, BM_BYTES, BM_HASH_SIZE);
    bm_sha256_update(&h, mac, BM_HASH_SIZE);
    bm_sha256_final(&h, mac);
}

/* PRK_3e2m or PRK_4e3m, then MAC and signature of message 2 or 3: made and written to proof if writing, else checked there
 * with the peer's key. */
static int prove(struct bm_edhoc *e, const struct statement *s, uint8_t prk[BM_PRK_SIZE], const uint8_t *key, uint8_t *proof,
                 size_t proof_size, int writing)
{
    const struct bm_port *port = e->config->port;
    uint8_t mac[BM_HASH_SIZE];
    int status = BM_OK;

    bm_copy(prk, e->prk, BM_PRK_SIZE);
    if (is_static(e->method, e->state)) {
        bm_edhoc_kdf(prk, BM_PRK_SIZE, prk, LABEL_SALT(e->state), th(e), BM_HASH_SIZE);
        status = extract(e, prk, prk, writing ? BM_KEY_IDENTITY : BM_KEY_EPHEMERAL, writing ? e->peer : key);
        compute_mac(e, s, prk, proof_size, mac);
        if (writing) {
            bm_copy(proof, mac, proof_size);
        } else if (status == BM_OK && !bm_equal(proof, mac, proof_size)) {
            status = BM_ERR_AUTH;
        }
    } else {
        compute_mac(e, s, prk, BM_HASH_SIZE, mac);
        sig_structure(e, s, mac);
        if (writing) {
            status = from_port(port->sign(port->user, mac, proof));
        } else {
            status = port->verify(port->user, key, mac, proof);
            status = status == BM_ERR_AUTH ? BM_ERR_AUTH : from_port(status);
        }
    }
    bm_wipe(mac, sizeof mac);
    return status;
}

/* Find the peer's credential and check its proof with it; several may have the same kid. */
static int check(struct bm_edhoc *e, struct statement *s, uint8_t prk[BM_PRK_SIZE], uint8_t *proof, size_t proof_size)
{
    const struct bm_edhoc_config *config = e->config;
    struct bm_peer peer;
    unsigned attempt = 0;
    int status;

    do {
        status = config->resolve(config->user, attempt++, s->id, s->id_size, &peer);
        if (status != BM_OK) {
            return status;
        }
        s->cred = peer.cred;
        s->cred_size = peer.cred_size;
        if (peer.cred_size == config->own.cred_size && bm_equal(peer.cred, config->own.cred, peer.cred_size)) {
            return BM_ERR_AUTH; /* the own message, reflected */
        }
        status = prove(e, s, prk, peer.key, proof, proof_size, 0);
    } while (status == BM_ERR_AUTH);
    return status;
}

/* The credential part of message 2 or 3: text is its plaintext, to whose TH the result goes. */
static int authenticate(struct bm_edhoc *e, uint8_t *text, size_t size, int writing, uint8_t prk[BM_PRK_SIZE],
                        uint8_t next[BM_HASH_SIZE])
{
    const struct bm_credential *own = &e->config->own;
    struct statement s;
    struct bm_reader r;
    struct bm_sha256 h;

    bm_read_start(&r, text, size);
    s.connection = text;
    if (e->state == 2) {
        read_identifier(&r);
    }
    s.connection_size = r.at;
    s.id = text + r.at;
    s.prefix_size = 0;
    switch (bm_read_peek(&r)) {
    case BM_MAP:
        bm_read_skip(&r);
        break;
    case BM_BYTES:
        s.prefix_size = 2;
        read_identifier(&r);
        break;
    default:
        s.prefix_size = 3;
        read_identifier(&r);
        break;
    }
    s.id_size = r.at - s.connection_size;
    /* {4: kid} has its short form. */
    r.bad |= s.prefix_size == 0 && s.id_size > 3 && s.id[0] == id_prefix[0] && s.id[1] == KID;
    size_t proof_size = is_static(e->method, e->state) ? tag_size(e) : BM_SIGNATURE_SIZE;
    const uint8_t *proof = bm_read_bytes(&r, proof_size);
    size_t ead = r.at;
    read_ead(&r);
    if (bm_read_end(&r) != BM_OK || proof == NULL) {
        return BM_ERR_MALFORMED;
    }
    s.ead = text + ead;
    s.ead_size = size - ead;
    s.cred = own->cred;
    s.cred_size = own->cred_size;
    int status = writing ? prove(e, &s, prk, NULL, text + (ead - proof_size), proof_size, 1)
                         : check(e, &s, prk, text + (ead - proof_size), proof_size);
    bm_sha256_init(&h);
    bm_sha256_update(&h, th(e) - 2, 2 + BM_HASH_SIZE);
    bm_sha256_update(&h, text, size);
    bm_sha256_update(&h, s.cred, s.cred_size);
    bm_sha256_final(&h, next);
    return status;
}

/* Encrypt or decrypt a plaintext in place (5.3.2, 5.4.2, 5.5.2); the tag of messages 3 and 4 lies behind it. */
static int crypt(struct bm_edhoc *e, uint8_t *text, size_t size, int writing)
{
    uint8_t key[BM_CCM_KEY_SIZE];

    if (e->state == 2) {
        bm_edhoc_mask(text, size, e->prk, th(e));
        return BM_OK;
    }
    bm_edhoc_kdf(key, BM_AES_KEY_SIZE, e->prk, LABEL_KEY(e->state), th(e), BM_HASH_SIZE);
    bm_edhoc_kdf(key + BM_AES_KEY_SIZE, BM_CCM_NONCE_SIZE, e->prk, LABEL_KEY(e->state) + 1, th(e), BM_HASH_SIZE);
    int status = bm_ccm(e->config->port, key, e->aad, sizeof e->aad, text, size, tag_size(e), !writing);
    bm_wipe(key, sizeof key);
    return status;
}

/* Messages 2 to 4 from the plaintext on, in the sender's order or the receiver's, and on to the next state. */
static int exchange(struct bm_edhoc *e, uint8_t *text, size_t size, int writing)
{
    uint8_t prk[BM_PRK_SIZE];
    uint8_t next[BM_HASH_SIZE];
    int status = writing ? BM_OK : crypt(e, text, size, 0);

    if (status == BM_OK) {
        if (e->state < 4) {
            status = authenticate(e, text, size, writing, prk, next);
        } else {
            struct bm_reader r;
            bm_read_start(&r, text, size);
            read_ead(&r);
            status = bm_read_end(&r);
            bm_edhoc_kdf(prk, sizeof prk, e->prk, LABEL_OUT, th(e), BM_HASH_SIZE);
            bm_copy(next, th(e), sizeof next);
        }
    }
    if (writing && status == BM_OK) {
        status = crypt(e, text, size, 1);
    }
    if (status == BM_OK) {
        bm_copy(e->prk, prk, sizeof prk);
        bm_copy(th(e), next, sizeof next);
        e->state++;
    }
    bm_wipe(prk, sizeof prk);
    return status;
}

size_t bm_edhoc_size(void)
{
    return sizeof(struct bm_edhoc);
}

void bm_edhoc_wipe(struct bm_edhoc *e)
{
    bm_wipe(e, sizeof *e);
}

int bm_edhoc_start(struct bm_edhoc *e, struct bm_edhoc_config *config, int role)
{
    bm_edhoc_wipe(e);
    if (config->selected >= config->suite_count ||
        find_suite(config, config->suites[config->selected]) == config->suite_count) {
        return BM_ERR_STATE;
    }
    for (unsigned method = 0; method < 4; method++) {
        if ((config->methods >> method & 1) == 0) {
            continue;
        }
        unsigned own = role == BM_INITIATOR ? 3 : 2; /* the message that this side's key is behind */
        if (config->port->key_usage != (is_static(method, own) ? BM_KEY_AGREEMENT : BM_DIGITAL_SIGNATURE) ||
            config->port->ephemeral_uses < 1 + is_static(method, 5 - own)) {
            return BM_ERR_STATE;
        }
        e->method = (uint8_t)method;
    }
    e->config = config;
    e->role = (uint8_t)role;
    e->suite = config->suites[config->selected];
    bm_copy(e->aad, aad, sizeof aad);
    e->state = 1;
    return BM_OK;
}

/* 1 if the next message is the own one to write, or to read. */
static int is_turn(const struct bm_edhoc *e, int writing)
{
    return e->state >= 1 && e->state < BM_EDHOC_COMPLETE && ((e->state ^ e->role) & 1) == writing;
}

int bm_edhoc_write(struct bm_edhoc *e, uint8_t *out, size_t out_size, size_t *out_len)
{
    const struct bm_edhoc_config *config = e->config;
    struct bm_writer w;
    int status;

    *out_len = 0;
    if (!is_turn(e, 1)) {
        return BM_ERR_STATE;
    }
    bm_write_start(&w, out, out_size);
    if (e->state == 1) {
        bm_write(&w, BM_UINT, e->method);
        if (config->selected > 0) {
            bm_write(&w, BM_ARRAY, config->selected + 1u);
        }
        bm_write_raw(&w, config->suites, config->selected + 1u);
        bm_write(&w, BM_BYTES, COORDINATE);
        size_t at = w.len;
        w.len += COORDINATE;
        bm_write_raw(&w, config->connection, config->connection_size);
        if (w.len > out_size) {
            return BM_ERR_SPACE;
        }
        status = write_point(e, out + at);
        bm_sha256(th(e), out, w.len);
        if (status == BM_OK) {
            e->state = 2;
        }
    } else {
        size_t proof_size = is_static(e->method, e->state) ? tag_size(e) : BM_SIGNATURE_SIZE;
        size_t size = 0;
        size_t extra = e->state == 2 ? COORDINATE : tag_size(e);
        if (e->state < 4) {
            size = (e->state == 2 ? config->connection_size : 0u) + config->own.id_size + 1 + (proof_size > 23) + proof_size;
        }
        bm_write(&w, BM_BYTES, (uint32_t)(size + extra));
        size_t at = w.len;
        if (w.len + size + extra > out_size) {
            return BM_ERR_SPACE;
        }
        status = BM_OK;
        if (e->state == 2) {
            status = write_point(e, out + at);
            if (status == BM_OK) {
                status = agree(e, out + at);
            }
            w.len += COORDINATE;
            bm_write_raw(&w, config->connection, config->connection_size);
            at += COORDINATE;
        }
        if (e->state < 4) {
            bm_write_raw(&w, config->own.id, config->own.id_size);
            bm_write(&w, BM_BYTES, (uint32_t)proof_size);
        }
        w.len = at + size + (e->state == 2 ? 0 : extra);
        if (status == BM_OK) {
            status = exchange(e, out + at, size, 1);
        }
    }
    if (status != BM_OK) {
        bm_wipe(out, out_size);
        return fail(e, status, e->state + e->role > 1);
    }
    *out_len = w.len;
    return BM_OK;
}

/* message_1 (5.2.3) */
static int read_message_1(struct bm_edhoc *e, const uint8_t *message, size_t size)
{
    struct bm_reader r;
    int selected;

    bm_read_start(&r, message, size);
    uint32_t method = bm_read(&r, BM_UINT);
    unsigned suite = read_suites(e->config, &r, &selected);
    size_t x_size = bm_read(&r, BM_BYTES);
    const uint8_t *x = bm_read_raw(&r, x_size);
    read_identifier(&r);
    read_ead(&r);
    if (bm_read_end(&r) != BM_OK || x == NULL || method > 3 || (e->config->methods >> method & 1) == 0) {
        return BM_ERR_MALFORMED;
    }
    if (!selected) {
        return BM_ERR_SUITE;
    }
    if (x_size != COORDINATE) {
        return BM_ERR_MALFORMED;
    }
    e->method = (uint8_t)method;
    e->suite = e->config->suites[suite];
    e->state = 2;
    bm_sha256(th(e), message, size);
    return read_point(e, x);
}

/* The peer's error message (6). */
static int read_error(struct bm_edhoc *e, struct bm_reader *r)
{
    struct bm_edhoc_config *config = e->config;
    uint32_t code = bm_read(r, BM_UINT);
    int status = BM_ERR_PEER;

    if (code == 2 && e->state == 2) {
        int selected;
        unsigned best = read_suites(config, r, &selected);
        if (bm_read_end(r) == BM_OK && best < config->suite_count && best != config->selected) {
            config->selected = (uint8_t)best;
            status = BM_ERR_SUITE;
        }
    } else if (code == 3) {
        bm_read_expect(r, BM_SIMPLE, BM_TRUE);
        status = BM_ERR_UNKNOWN;
    } else {
        bm_read_skip(r);
    }
    return bm_read_end(r) == BM_OK ? status : BM_ERR_MALFORMED;
}

int bm_edhoc_read(struct bm_edhoc *e, uint8_t *message, size_t size)
{
    struct bm_reader r;
    int status;

    if (!is_turn(e, 0)) {
        return BM_ERR_STATE;
    }
    bm_read_start(&r, message, size);
    if (e->state == 1) {
        status = read_message_1(e, message, size);
    } else if (bm_read_peek(&r) != BM_BYTES) {
        status = fail(e, read_error(e, &r), 0);
        bm_wipe(message, size);
        return status;
    } else {
        size_t text_size = bm_read(&r, BM_BYTES);
        size_t extra = e->state == 2 ? COORDINATE : tag_size(e);
        (void)bm_read_raw(&r, text_size);
        status = bm_read_end(&r);
        if (text_size < extra) {
            status = BM_ERR_MALFORMED;
        }
        uint8_t *text = message + (size - text_size);
        if (status == BM_OK && e->state == 2) {
            status = read_point(e, text);
            if (status == BM_OK) {
                status = agree(e, text);
            }
            text += COORDINATE;
        }
        if (status == BM_OK) {
            status = exchange(e, text, text_size - extra, 0);
        }
    }
    if (status != BM_OK) {
        bm_wipe(message, size);
        return fail(e, status, status == BM_ERR_SUITE ? 2 : status == BM_ERR_UNKNOWN ? 3 : 1);
    }
    return BM_OK;
}

int bm_edhoc_error(struct bm_edhoc *e, uint8_t *out, size_t out_size, size_t *out_len)
{
    const struct bm_edhoc_config *config = e->config;
    struct bm_writer w;

    *out_len = 0;
    if (e->error == 0) {
        return BM_ERR_STATE;
    }
    bm_write_start(&w, out, out_size);
    bm_write(&w, BM_UINT, e->error);
    if (e->error == 1) {
        bm_write_string(&w, BM_TEXT, "refused", 7);
    } else if (e->error == 2) {
        if (config->suite_count > 1) {
            bm_write(&w, BM_ARRAY, config->suite_count);
        }
        bm_write_raw(&w, config->suites, config->suite_count);
    } else {
        bm_write(&w, BM_SIMPLE, BM_TRUE);
    }
    if (w.len > out_size) {
        return BM_ERR_SPACE;
    }
    *out_len = w.len;
    return BM_OK;
}

void bm_edhoc_exporter(uint8_t *out, size_t size, const uint8_t prk_out[BM_PRK_SIZE], uint32_t label, const uint8_t *context,
                       size_t context_size)
{
    uint8_t prk[BM_PRK_SIZE];

    bm_edhoc_kdf(prk, sizeof prk, prk_out, LABEL_EXPORTER, NULL, 0);
    bm_edhoc_kdf(out, size, prk, label, context, context_size);
    bm_wipe(prk, sizeof prk);
}

int bm_edhoc_export(const struct bm_edhoc *e, uint32_t label, const uint8_t *context, size_t context_size, uint8_t *out,
                    size_t size)
{
    if (e->state != BM_EDHOC_COMPLETE) {
        return BM_ERR_STATE;
    }
    bm_edhoc_exporter(out, size, e->prk, label, context, context_size);
    return BM_OK;
}

int bm_edhoc_key_update(struct bm_edhoc *e, const uint8_t *context, size_t context_size)
{
    if (e->state != BM_EDHOC_COMPLETE) {
        return BM_ERR_STATE;
    }
    bm_edhoc_kdf(e->prk, BM_PRK_SIZE, e->prk, LABEL_UPDATE, context, context_size);
    return BM_OK;
}
