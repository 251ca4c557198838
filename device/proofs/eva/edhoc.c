#include "edhoc.h"
#include "stubs.h"

/* A resolver that knows any credential or none. Where the identifier lies was asserted before. */
static int find_any(void *user, unsigned attempt, const uint8_t *id, size_t id_size, struct bm_peer *peer)
{
    static uint8_t cred[BM_UNIT_CERTIFICATE_MAX];

    (void)user, (void)attempt, (void)id, (void)id_size;
    any(peer->key, BM_KEY_SIZE);
    any(cred, sizeof cred);
    peer->cred = cred;
    peer->cred_size = sizeof cred;
    if (Frama_C_interval(0, 1)) {
        return Frama_C_interval(0, 1) ? BM_ERR_AUTH : BM_ERR_UNKNOWN;
    }
    return any_status();
}

/* The message that state n waits for, or an error message in its place, in any method with either suite. Of the method the
 * code asks whether the sender's key is static. */
static void read(unsigned n, int role)
{
    static const uint8_t suites[] = {2, 3};
    static uint8_t cred[BM_UNIT_CERTIFICATE_MAX];
    const struct bm_port port = {.verify = stub_verify, .ecdh = stub_ecdh};

    /*@ widen_hints global:"all", HI, HI - 1, HI - 2, HI - 3, HI - 4, HI - 5, HI - 6, HI - 7; */
    FOR_EACH_SIZE(size) {
        struct bm_edhoc_config config = {
            .port = &port, .resolve = find_any, .own.cred = cred, .suites = suites, .suite_count = sizeof suites};
        struct bm_edhoc e;
        int is_static = Frama_C_interval(0, 1);
        any(cred, sizeof cred);
        any(&e, sizeof e);
        config.own.cred_size = sizeof cred;
        config.selected = (uint8_t)Frama_C_interval(0, 1);
        config.methods = (uint8_t)Frama_C_interval(0, 15);
        e.config = &config;
        e.state = (uint8_t)n;
        e.role = (uint8_t)role;
        e.tag_size = Frama_C_interval(0, 1) ? 8 : 16;
        /*@ split e.tag_size; */
        /*@ split is_static; */
        e.method = (uint8_t)(is_static << (n & 1) | Frama_C_interval(0, 1) << (1 - (n & 1)));
        if (bm_edhoc_read(&e, INPUT(size), size) == BM_OK) {
            ACCEPTED();
        }
    }
}

void message_1(void)
{
    read(1, BM_RESPONDER);
}

void message_2(void)
{
    read(2, BM_INITIATOR);
}

void message_3(void)
{
    read(3, BM_RESPONDER);
}

void message_4(void)
{
    read(4, BM_INITIATOR);
}
