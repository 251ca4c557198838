#include "edhoc.h"

#include "internal.h"

enum {
#ifdef BM_CONFIG_NO_INITIATOR
    INITIATOR = 0,
#else
    INITIATOR = 1, /* is built in */
#endif
#ifdef BM_CONFIG_NO_RESPONDER
    RESPONDER = 0,
#else
    RESPONDER = 1,
#endif
#ifdef BM_CONFIG_NO_STATIC_DH
    STATIC_DH = 0,
#else
    STATIC_DH = 1,
#endif
#ifdef BM_CONFIG_NO_SUITE_3
    LAST_SUITE = 2
#else
    LAST_SUITE = 3
#endif
};

/* Labels of EDHOC_KDF (4.1.2), some by the message that they belong to: salt and MAC of 2 and 3, key and then IV of 3 and 4. */
enum { LABEL_KEYSTREAM = 0, LABEL_OUT = 7, LABEL_EXPORTER = 10, LABEL_UPDATE = 11 };
#define LABEL_SALT(n) (4u * (n) - 7)
#define LABEL_MAC(n) (4u * (n) - 6)
#define LABEL_KEY(n) (5u * (n) - 12)

enum {
    COORDINATE = 32, /* G_X, G_Y: the x-coordinate alone */
    TH_HEAD = 2,
    TH_ITEM = TH_HEAD + BM_HASH_SIZE, /* TH as a byte string */
    KDF_MAX = 255 * BM_HASH_SIZE      /* RFC 5869, 2.3 */
};

/* ["Encrypt0", h'', TH] up to TH (5.4.2, 5.5.2). */
static const uint8_t aad[BM_EDHOC_AAD_SIZE - BM_HASH_SIZE] = {0x83, 0x68, 'E', 'n', 'c', 'r', 'y',
                                                              'p',  't',  '0', 0x40, 0x58, 0x20};

/* ID_CRED_x = {4: h'XX'} up to its kid XX, or without the last byte up to a kid that has its own head (3.5.3.2). */
static const uint8_t kid_map[] = {0xa1, 0x04, 0x41};

/* What message 2 or 3 says of its sender, in the order in which MAC, signature and transcript hash cover it. TEXT is
 * the whole plaintext, which the transcript hash alone covers. */
enum { CONNECTION, KID_MAP, ID, TH, TEXT, CRED, EAD, PARTS };

static uint8_t *th(struct bm_edhoc *e)
{
    return e->aad + sizeof aad;
}

/* 1 if the authentication key behind message n, 2 or 3, is for static Diffie-Hellman (3.2). */
static int is_static(const struct bm_edhoc *e, unsigned n)
{
    return STATIC_DH && (e->method >> (n & 1) & 1) != 0;
}

/* Of Signature_or_MAC of the next message. */
static size_t proof_size(const struct bm_edhoc *e)
{
    return is_static(e, e->state) ? e->tag_size : BM_SIGNATURE_SIZE;
}

static void set_suite(struct bm_edhoc *e, unsigned suite)
{
    e->tag_size = (uint8_t)(8 * (suite - 1));
}

/* Wipe all but what bm_edhoc_error needs; error is an ERR_CODE, 0 for none. */
static int fail(struct bm_edhoc *e, int status, int error)
{
    struct bm_edhoc_config *config = e->config;

    bm_edhoc_wipe(e);
    e->config = config;
    e->error = (uint8_t)error;
    return status;
}

/* The index among the own suites of one that is built in, or suite_count. */
static BM_NOINLINE unsigned find_suite(const struct bm_edhoc_config *config, uint32_t suite)
{
    unsigned i = 0;

    while (i < config->suite_count && config->suites[i] != suite) {
        i++;
    }
    return suite >= 2 && suite <= LAST_SUITE ? i : config->suite_count;
}

/* Read suites (5.2.1), one or an array of several. Returns the best by the own preference, suite_count if there is none in
 * common; *before is the same of all but the last. */
static unsigned read_suites(const struct bm_edhoc_config *config, struct bm_reader *r, unsigned *before)
{
    unsigned best = config->suite_count;
    uint32_t count = 1;

    if (bm_read_peek(r) == BM_ARRAY) {
        count = bm_read(r, BM_ARRAY);
        r->bad |= count < 2;
    }
    *before = best;
    for (; count > 0 && !r->bad; count--) {
        enum bm_major major = bm_read_peek(r);
        uint32_t suite = bm_read(r, major == BM_NINT ? BM_NINT : BM_UINT);
        unsigned index = major == BM_NINT ? config->suite_count : find_suite(config, suite);
        *before = best;
        best = index < best ? index : best;
    }
    return best;
}

/* Pass over a byte string or an integer of one byte. A string that an integer stands for is refused (3.3.2). */
static void read_identifier(struct bm_reader *r)
{
    int is_string = bm_read_peek(r) == BM_BYTES;
    size_t size = is_string ? bm_read(r, BM_BYTES) : 1;
    /*@ assert size < 1 || size == 1 || size > 1; */
    const uint8_t *bytes = bm_read_raw(r, size);

    if (bytes != NULL && (size == 1 && (*bytes & 0xc0) == 0 && (*bytes & 31) < 24) == is_string) {
        r->bad = 1;
    }
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

/* What a call of the port answered that had 32 bytes or more to give. Equal halves are what a part gives that gives only
 * zeros; chance makes them once in 2^128. */
static int answer(int status, const uint8_t out[32])
{
    return status == BM_OK && bm_equal(out, out + 16, 16) ? BM_ERR_PORT : status;
}

/* EDHOC_KDF with the present PRK and TH. KEYSTREAM_2 is XORed to out. */
static void kdf(struct bm_edhoc *e, unsigned label, uint8_t *out, size_t size)
{
    struct bm_part context;

    context.bytes = th(e);
    context.size = BM_HASH_SIZE;
    bm_edhoc_kdf_parts(out, size, e->prk, label, &context, 1, label == LABEL_KEYSTREAM ? 0xff : 0);
}

static BM_NOINLINE void hash(uint8_t digest[BM_HASH_SIZE], const struct bm_part *parts, unsigned count)
{
    struct bm_sha256 h;

    bm_sha256_init(&h);
    bm_hash_parts(&h, parts, count);
    bm_sha256_final(&h, digest);
}

/* prk = HKDF-Extract(salt, ECDH of these keys); prk may be salt. */
static BM_NOINLINE int extract(const struct bm_edhoc *e, uint8_t prk[BM_PRK_SIZE], const uint8_t salt[BM_HASH_SIZE], int own,
                   const uint8_t peer[BM_KEY_SIZE])
{
    const struct bm_port *port = e->config->port;
    struct bm_sha256 h;
    uint8_t secret[32];
    int status = answer(port->ecdh(port->user, own, peer, secret), secret);

    if (status == BM_OK) {
        bm_hmac_start(&h, salt);
        bm_sha256_update(&h, secret, sizeof secret);
        bm_hmac_final(&h, salt, secret);
        bm_copy(prk, secret, sizeof secret);
    }
    bm_wipe(secret, sizeof secret);
    return status;
}

/* The peer's ephemeral key. Which y it gets does not matter, as ECDH gives x alone. */
static BM_NOINLINE int read_point(struct bm_edhoc *e, const uint8_t x[COORDINATE])
{
    uint8_t *compressed = e->peer + BM_KEY_SIZE - BM_COMPRESSED_SIZE;

    compressed[0] = 2;
    bm_copy(compressed + 1, x, COORDINATE);
    return bm_p256_recover(e->peer, compressed);
}

/* A new ephemeral key. */
static BM_NOINLINE int write_point(const struct bm_edhoc *e, uint8_t x[COORDINATE])
{
    const struct bm_port *port = e->config->port;
    uint8_t key[BM_KEY_SIZE];
    int status = answer(port->ephemeral(port->user, key), key);

    bm_copy(x, key, COORDINATE);
    return status;
}

/* G_Y, TH_2 = H(G_Y, H(message_1)) and PRK_2e (5.3.2). */
static int agree(struct bm_edhoc *e, uint8_t g_y[COORDINATE], int writing)
{
    struct bm_part parts[3];
    int status = RESPONDER && writing ? write_point(e, g_y) : read_point(e, g_y);

    if (status != BM_OK) {
        return status;
    }
    parts[0].bytes = th(e) - TH_HEAD;
    parts[0].size = TH_HEAD;
    parts[1].bytes = g_y;
    parts[1].size = COORDINATE;
    parts[2].bytes = th(e) - TH_HEAD;
    parts[2].size = TH_ITEM;
    hash(th(e), parts, 3);
    return extract(e, e->prk, th(e), BM_KEY_EPHEMERAL, e->peer);
}

/* Turn a MAC into the digest that is signed: of Sig_structure (RFC 9052, 4.4) with external_aad << TH, CRED_x, ? EAD >>. */
static BM_NOINLINE void sig_structure(uint8_t mac[BM_HASH_SIZE], const struct bm_part *parts)
{
    static const uint8_t context[] = {0x84, 0x6a, 'S', 'i', 'g', 'n', 'a', 't', 'u', 'r', 'e', '1'};
    struct bm_sha256 h;

    bm_sha256_init(&h);
    bm_sha256_update(&h, context, sizeof context);
    bm_hash_string(&h, parts + KID_MAP, TH - KID_MAP);
    bm_hash_string(&h, parts + TH, PARTS - TH);
    bm_hash_head(&h, BM_BYTES, BM_HASH_SIZE);
    bm_sha256_update(&h, mac, BM_HASH_SIZE);
    bm_sha256_final(&h, mac);
}

/* What message 2 or 3 gives, one after the other in the same place. */
union found {
    struct bm_peer peer;
    struct {
        uint8_t prk[BM_PRK_SIZE]; /* PRK_3e2m, PRK_4e3m */
        uint8_t th[BM_HASH_SIZE]; /* TH_3, TH_4 */
    } next;
};

/* Signature_or_MAC, made if writing, else checked with the peer's key (5.3.2, 5.4.2); then the next PRK and TH. */
static int prove(struct bm_edhoc *e, struct bm_part *parts, union found *found, uint8_t *proof, int writing)
{
    const struct bm_port *port = e->config->port;
    uint8_t prk[BM_PRK_SIZE];
    uint8_t mac[BM_HASH_SIZE];
    size_t mac_size = sizeof mac;
    size_t text_size = parts[TEXT].size;
    int status = BM_OK;

    parts[TEXT].size = 0;
    bm_copy(prk, e->prk, BM_PRK_SIZE);
    if (is_static(e, e->state)) {
        mac_size = e->tag_size;
        kdf(e, LABEL_SALT(e->state), prk, BM_PRK_SIZE);
        status = writing ? extract(e, prk, prk, BM_KEY_IDENTITY, e->peer) : extract(e, prk, prk, BM_KEY_EPHEMERAL, found->peer.key);
    }
    bm_edhoc_kdf_parts(mac, mac_size, prk, LABEL_MAC(e->state), parts, PARTS, 0);
    if (!is_static(e, e->state)) {
        sig_structure(mac, parts);
        status = writing ? answer(port->sign(port->user, mac, proof), proof) : port->verify(port->user, found->peer.key, mac, proof);
    } else if (writing) {
        bm_copy(proof, mac, mac_size);
    } else if (status == BM_OK && !bm_equal(proof, mac, mac_size)) {
        status = BM_ERR_AUTH;
    }
    parts[TEXT].size = text_size;
    hash(found->next.th, parts + TH, CRED + 1 - TH);
    bm_copy(found->next.prk, prk, sizeof prk);
    bm_wipe(prk, sizeof prk);
    bm_wipe(mac, sizeof mac);
    return status;
}

/* Find the peer's credential and check its proof with it; several may have the same kid. */
static int identify(struct bm_edhoc *e, struct bm_part *parts, union found *found, uint8_t *proof)
{
    const struct bm_edhoc_config *config = e->config;
    struct bm_peer *peer = &found->peer;
    unsigned attempt = 0;
    int status;

    do {
        status = config->resolve(config->user, attempt, parts[ID].bytes, parts[ID].size, peer);
        if (status != BM_OK) {
            return status;
        }
        if (peer->cred_size == config->own.cred_size && bm_equal(peer->cred, config->own.cred, peer->cred_size)) {
            return BM_ERR_AUTH; /* the own message, reflected */
        }
        parts[CRED].bytes = peer->cred;
        parts[CRED].size = peer->cred_size;
        status = prove(e, parts, found, proof, 0);
        attempt++;
    } while (status == BM_ERR_AUTH && attempt < BM_EDHOC_ATTEMPTS);
    return status;
}

/* Read the plaintext of message 2 or 3, make or check what proves its sender, and find the next PRK and TH. The splits show Eva
 * each place of ID and of EAD with the size that belongs to it (docs/proofs.md). */
static int authenticate(struct bm_edhoc *e, uint8_t *text, size_t size, int writing, union found *found)
{
    struct bm_part parts[PARTS];
    struct bm_reader r;
    size_t connection_size;
    size_t id_end;
    size_t ead;

    bm_read_start(&r, text, size);
    if (e->state == 2) {
        read_identifier(&r);
    }
    connection_size = r.at;
    parts[CONNECTION].bytes = text;
    parts[KID_MAP].bytes = kid_map;
    switch (bm_read_peek(&r)) {
    case BM_MAP:
        parts[KID_MAP].size = 0;
        bm_read_skip(&r);
        break;
    case BM_BYTES:
        parts[KID_MAP].size = 2;
        read_identifier(&r);
        break;
    default:
        parts[KID_MAP].size = 3;
        read_identifier(&r);
    }
    id_end = r.at;
    (void)bm_read_bytes(&r, proof_size(e));
    /*@ split r.bad; */
    ead = r.at;
    read_ead(&r);
    if (bm_read_end(&r) != BM_OK) {
        return BM_ERR_MALFORMED;
    }
    /*@ split connection_size; */
    /*@ admit connection_size < id_end < ead; */ /* each read goes on */
    parts[CONNECTION].size = connection_size;
    parts[ID].bytes = text + connection_size;
    parts[ID].size = id_end - connection_size;
    /*@ assert \valid_read(parts[ID].bytes + (0 .. parts[ID].size - 1)); */
    /* {4: kid} has its short form. */
    if (bm_equal(parts[ID].bytes, kid_map, 2)) {
        return BM_ERR_MALFORMED;
    }
    /*@ merge connection_size; */
    parts[TH].bytes = th(e) - TH_HEAD;
    parts[TH].size = TH_ITEM;
    parts[TEXT].bytes = text;
    parts[TEXT].size = size;
    parts[CRED].bytes = e->config->own.cred;
    parts[CRED].size = e->config->own.cred_size;
    /*@ split ead; */
    parts[EAD].bytes = text + ead;
    parts[EAD].size = size - ead;
    /*@ assert \valid_read(parts[EAD].bytes + (0 .. parts[EAD].size - 1)); */
    /*@ merge ead; */
    text += ead - proof_size(e);
    return writing ? prove(e, parts, found, text, 1) : identify(e, parts, found, text);
}

/* Read the plaintext of message 4, which is EAD alone. */
static int read_plaintext_4(const uint8_t *text, size_t size)
{
    struct bm_reader r;

    bm_read_start(&r, text, size);
    read_ead(&r);
    return bm_read_end(&r);
}

/* Encrypt or decrypt a plaintext in place (5.3.2, 5.4.2, 5.5.2); the tag of messages 3 and 4 lies behind it. */
static int crypt(struct bm_edhoc *e, uint8_t *text, size_t size, int writing)
{
    uint8_t key[BM_CCM_KEY_SIZE];

    if (e->state == 2) {
        kdf(e, LABEL_KEYSTREAM, text, size);
        return BM_OK;
    }
    kdf(e, LABEL_KEY(e->state), key, BM_AES_KEY_SIZE);
    kdf(e, LABEL_KEY(e->state) + 1, key + BM_AES_KEY_SIZE, BM_CCM_NONCE_SIZE);
    int status = bm_ccm(e->config->port, key, e->aad, sizeof e->aad, text, size, e->tag_size, !writing);
    bm_wipe(key, sizeof key);
    return status;
}

/* Messages 2 to 4 around their plaintext, which has a hole for Signature_or_MAC if writing: G_Y lies before it, the
 * tag behind it. On to the next state. */
static int exchange(struct bm_edhoc *e, uint8_t *text, size_t size, int writing)
{
    union found found;
    int status = BM_OK;

    if (e->state == 2) {
        status = agree(e, text - COORDINATE, writing);
    }
    if (status == BM_OK && !writing) {
        status = crypt(e, text, size, 0);
    }
    if (status == BM_OK) {
        status = e->state == 4 ? read_plaintext_4(text, size) : authenticate(e, text, size, writing, &found);
    }
    if (status == BM_OK && writing) {
        status = crypt(e, text, size, 1);
    }
    if (status == BM_OK) {
        if (e->state == 4) {
            kdf(e, LABEL_OUT, e->prk, BM_PRK_SIZE);
        } else {
            bm_copy(e->prk, found.next.prk, BM_PRK_SIZE);
            bm_copy(th(e), found.next.th, BM_HASH_SIZE);
        }
        e->state++;
    }
    bm_wipe(&found, sizeof found);
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
    const struct bm_port *port = config->port;
    /* Bits 0 to 3: the methods in which this side's key is for static Diffie-Hellman. */
    unsigned own_static = 0xa;
    /* A Responder can run all the suites that it names, an Initiator the one that it proposes. */
    unsigned suite = 0;
    unsigned end = config->suite_count;
    unsigned refused;
    unsigned method = 0;

    if (role == BM_INITIATOR) {
        own_static = 0xc;
        suite = config->selected;
        end = suite + 1;
    }
    refused = port->key_usage == BM_DIGITAL_SIGNATURE ? own_static : port->key_usage == BM_KEY_AGREEMENT ? ~own_static : 15;
    if (port->ephemeral_uses < 2) { /* PRK_2e takes one, and the methods in which the peer's key is static another */
        refused |= 0xc + 0xa - own_static;
    }
    refused |= STATIC_DH ? ~15u : ~1u;
    bm_edhoc_wipe(e);
    if (!(role == BM_INITIATOR ? INITIATOR : RESPONDER) || port->ephemeral_uses == 0 || config->methods == 0 ||
        (config->methods & refused) != 0 || end == 0 || end > config->suite_count) {
        return BM_ERR_STATE;
    }
    for (; suite < end; suite++) {
        if (find_suite(config, config->suites[suite]) != suite) {
            return BM_ERR_STATE;
        }
    }
    while ((config->methods >> method & 1) == 0) {
        method++;
    }
    if (role == BM_INITIATOR && config->methods >> method != 1) {
        return BM_ERR_STATE;
    }
    e->config = config;
    e->role = (uint8_t)role;
    e->method = (uint8_t)method;
    set_suite(e, config->suites[end - 1]);
    bm_copy(e->aad, aad, sizeof aad);
    e->state = 1;
    return BM_OK;
}

/* 1 if the next message is the own one to write, or to read. */
static int is_turn(const struct bm_edhoc *e, int writing)
{
    return e->state >= 1 && e->state < BM_EDHOC_COMPLETE && ((e->state ^ e->role) & 1) == writing;
}

/* Write message_1 (5.2.2); returns where G_X goes. */
static size_t write_message_1(const struct bm_edhoc *e, struct bm_writer *w)
{
    const struct bm_edhoc_config *config = e->config;
    size_t at;

    bm_write(w, BM_UINT, e->method);
    if (config->selected > 0) {
        bm_write(w, BM_ARRAY, config->selected + 1u);
    }
    bm_write_raw(w, config->suites, config->selected + 1u);
    bm_write(w, BM_BYTES, COORDINATE);
    at = w->len;
    w->len += COORDINATE;
    bm_write_raw(w, config->connection, config->connection_size);
    return at;
}

int bm_edhoc_write(struct bm_edhoc *e, uint8_t *out, size_t out_size, size_t *out_len)
{
    const struct bm_edhoc_config *config = e->config;
    struct bm_writer w;
    size_t at;
    size_t size = 0; /* of the plaintext */
    int status;

    *out_len = 0;
    if (!is_turn(e, 1)) {
        return BM_ERR_STATE;
    }
    bm_write_start(&w, out, out_size);
    if (INITIATOR && e->state == 1) {
        at = write_message_1(e, &w);
    } else {
        size_t before = 0; /* G_Y */
        size_t behind = e->tag_size;
        size_t connection_size = 0;
        if (RESPONDER && e->state == 2) {
            before = COORDINATE;
            behind = 0;
            connection_size = config->connection_size;
        }
        if (e->state < 4) {
            size = connection_size + config->own.id_size + 1 + (proof_size(e) > 23) + proof_size(e);
        }
        bm_write(&w, BM_BYTES, (uint32_t)(before + size + behind));
        w.len += before;
        at = w.len;
        if (e->state < 4) {
            bm_write_raw(&w, config->connection, connection_size);
            bm_write_raw(&w, config->own.id, config->own.id_size);
            bm_write(&w, BM_BYTES, (uint32_t)proof_size(e));
        }
        w.len = at + size + behind;
    }
    if (w.len > out_size) {
        return BM_ERR_SPACE;
    }
    if (INITIATOR && e->state == 1) {
        status = write_point(e, out + at);
        bm_sha256(th(e), out, w.len);
    } else {
        status = exchange(e, out + at, size, 1);
    }
    if (status != BM_OK) {
        bm_wipe(out, out_size);
        return fail(e, status, e->state + e->role > 1);
    }
    if (INITIATOR && e->state == 1) {
        e->state = 2;
    }
    *out_len = w.len;
    return BM_OK;
}

/* message_1 (5.2.3). What its suite makes of the length of G_X is seen after the suite. */
static BM_NOINLINE int read_message_1(struct bm_edhoc *e, struct bm_reader *r)
{
    unsigned before;
    uint32_t method = bm_read(r, BM_UINT);
    unsigned suite = read_suites(e->config, r, &before);
    size_t x_size = bm_read(r, BM_BYTES);
    /*@ assert x_size < COORDINATE || x_size == COORDINATE || x_size > COORDINATE; */
    /*@ split x_size == COORDINATE; */
    const uint8_t *x = bm_read_raw(r, x_size);

    read_identifier(r);
    read_ead(r);
    if (bm_read_end(r) != BM_OK || method > 3 || (e->config->methods >> method & 1) == 0) {
        return BM_ERR_MALFORMED;
    }
    if (suite == e->config->suite_count || before < e->config->suite_count) {
        return BM_ERR_SUITE;
    }
    e->method = (uint8_t)method;
    set_suite(e, e->config->suites[suite]);
    e->state = 2;
    bm_sha256(th(e), r->bytes, r->size);
    return x_size != COORDINATE ? BM_ERR_MALFORMED : read_point(e, x);
}

/* The peer's error message (6). */
static int read_error(struct bm_edhoc *e, struct bm_reader *r)
{
    struct bm_edhoc_config *config = e->config;
    int is_negative = bm_read_peek(r) == BM_NINT;
    uint32_t code = bm_read(r, is_negative ? BM_NINT : BM_UINT);
    int status = BM_ERR_PEER;

    if (is_negative) {
        code = 0; /* none that is known here */
    }

    if (INITIATOR && code == 2 && e->state == 2) {
        unsigned before;
        unsigned best = read_suites(config, r, &before);
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
    int error = 1;

    if (!is_turn(e, 0)) {
        return BM_ERR_STATE;
    }
    bm_read_start(&r, message, size);
    if (RESPONDER && e->state == 1) {
        status = read_message_1(e, &r);
        error = status == BM_ERR_SUITE ? 2 : 1;
    } else if (bm_read_peek(&r) == BM_BYTES) {
        size_t around = e->state == 2 ? COORDINATE : e->tag_size;
        uint32_t told = bm_read(&r, BM_BYTES);
        /*@ split r.at; */
        size_t text_size = size - r.at - around;
        size_t at = r.at + (e->state == 2 ? COORDINATE : 0);
        status = r.bad || told != size - r.at || text_size > KDF_MAX ? BM_ERR_MALFORMED : BM_OK;
        if (status == BM_OK) {
            status = exchange(e, message + at, text_size, 0);
            error = status == BM_ERR_UNKNOWN ? 3 : 1;
        }
    } else {
        status = read_error(e, &r);
        error = status == BM_ERR_MALFORMED;
    }
    if (status != BM_OK) {
        bm_wipe(message, size);
        return fail(e, status, error);
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
    } else if (RESPONDER && e->error == 2) {
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

int bm_edhoc_export(const struct bm_edhoc *e, uint32_t label, const uint8_t *context, size_t context_size, uint8_t *out,
                    size_t size)
{
    uint8_t prk[BM_PRK_SIZE];

    if (e->state != BM_EDHOC_COMPLETE) {
        return BM_ERR_STATE;
    }
    bm_edhoc_kdf(prk, sizeof prk, e->prk, LABEL_EXPORTER, NULL, 0);
    bm_edhoc_kdf(out, size, prk, label, context, context_size);
    bm_wipe(prk, sizeof prk);
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
