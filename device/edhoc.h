/* EDHOC (RFC 9528): authenticated key exchange, Initiator and Responder, methods 0 to 3, cipher suites 2 and 3.
 *
 * A handshake is four messages. Each side calls bm_edhoc_write when it is its turn and bm_edhoc_read for what came, until
 * both have returned BM_OK for message_4:
 *
 *   Initiator    write 1, read 2, write 3, read 4
 *   Responder    read 1, write 2, read 3, write 4
 *
 * A call out of turn returns BM_ERR_STATE and changes nothing. After any other error but BM_ERR_SPACE the handshake is wiped,
 * every later call returns BM_ERR_STATE, and bm_edhoc_error composes what the peer is to be told. No EAD is sent; padding and
 * unknown items that are not critical are passed over, an unknown critical item is refused (3.8).
 *
 * Left out of a build by BM_CONFIG_NO_INITIATOR, BM_CONFIG_NO_RESPONDER, BM_CONFIG_NO_STATIC_DH (methods 1 to 3) and
 * BM_CONFIG_NO_SUITE_3. */
#ifndef BM_EDHOC_H
#define BM_EDHOC_H

#include "birthmark.h"

/* Of cipher suites 2 and 3, in this order, how many are built in. */
#ifdef BM_CONFIG_NO_SUITE_3
#define BM_EDHOC_SUITE_COUNT 1
#else
#define BM_EDHOC_SUITE_COUNT 2
#endif

enum bm_role { BM_INITIATOR = 0, BM_RESPONDER = 1 };

/* One side's authentication credential. The memory is the caller's. */
struct bm_credential {
    /* ID_CRED_x as a plaintext carries it (3.5.3.2): a CBOR map, or for {4: kid} the kid alone, a byte string, or an
     * integer where one byte of CBOR says it. */
    const uint8_t *id;
    size_t id_size;
    const uint8_t *cred; /* CRED_x, the very bytes that are hashed (3.5.2) */
    size_t cred_size;
};

#define BM_EDHOC_ATTEMPTS 8 /* credentials that are tried: a message costs a bounded time, whatever the resolver does */

/* What a resolver finds. cred lives until the call of bm_edhoc_read that asked for it returns. */
struct bm_peer {
    const uint8_t *cred; /* CRED_x */
    size_t cred_size;
    uint8_t key[BM_KEY_SIZE]; /* its public key, a point of the curve */
};

/* What both sides agree on beforehand (3.9), and the own side's part. The caller's; it outlives the handshake. */
struct bm_edhoc_config {
    const struct bm_port *port;
    /* Find the peer's credential from its ID_CRED_x, untrusted and in the form of bm_credential.id, and judge it. attempt
     * counts from 0 to BM_EDHOC_ATTEMPTS - 1: where several credentials have this identifier (kid), it gives the next one, and
     * BM_ERR_AUTH when there are no more. BM_OK; BM_ERR_UNKNOWN if a reference is not known, so that the peer may send by value
     * (error 3); BM_ERR_AUTH if the credential is refused; BM_ERR_PORT. */
    int (*resolve)(void *user, unsigned attempt, const uint8_t *id, size_t id_size, struct bm_peer *peer);
    void *user;
    struct bm_credential own;
    const uint8_t *suites; /* own cipher suites in order of preference, 0 to 23 each */
    uint8_t suite_count;
    uint8_t selected; /* index of the one that message_1 proposes; the library writes it when an error 2 names another */
    uint8_t methods;  /* bits 0 to 3: Initiator: exactly one; Responder: those that it takes */
    /* Own connection identifier (3.3.2): its encoding, one integer -24 to 23 or a byte string that no integer stands for. */
    const uint8_t *connection;
    uint8_t connection_size;
};

#define BM_EDHOC_AAD_SIZE 45

/* One handshake. One block of the caller's memory; all fields are private. */
struct bm_edhoc {
    uint8_t state;
    uint8_t role;
    uint8_t method;
    uint8_t tag_size; /* of messages 3 and 4, and of a MAC in place of a signature; the suites differ in nothing else */
    uint8_t error; /* ERR_CODE for bm_edhoc_error; 0: none */
    struct bm_edhoc_config *config;
    uint8_t prk[32];                /* PRK_2e, PRK_3e2m, PRK_4e3m, then PRK_out */
    uint8_t peer[BM_KEY_SIZE];      /* the peer's ephemeral key */
    uint8_t aad[BM_EDHOC_AAD_SIZE]; /* A_3, A_4: ["Encrypt0", h'', TH]; TH is H(message_1), then TH_2, TH_3, TH_4 */
};

/* sizeof(struct bm_edhoc) as the library was built. */
size_t bm_edhoc_size(void);
/* Begin as one of enum bm_role. BM_OK; BM_ERR_STATE if config asks for what the build or the port does not have: a method that the
 * key usage does not allow, more ECDH than its ephemeral key survives, a suite (the selected one; all of a Responder's). */
BM_MUST_CHECK int bm_edhoc_start(struct bm_edhoc *e, struct bm_edhoc_config *config, int role);
/* Write the next message. On BM_ERR_SPACE nothing has happened and the call may be repeated with more room: bytes needed are
 * at most 36 + suites + C_I for message_1, 101 + ID_CRED + C_R for the next two, 17 for message_4. */
BM_MUST_CHECK int bm_edhoc_write(struct bm_edhoc *e, uint8_t *out, size_t out_size, size_t *out_len);
/* Read the next message, or an error message in its place. The bytes are decrypted where they are, and are wiped after
 * an error. BM_OK; BM_ERR_MALFORMED, BM_ERR_AUTH, BM_ERR_UNKNOWN, BM_ERR_SUITE, BM_ERR_PEER, BM_ERR_PORT or BM_ERR_STATE. */
BM_MUST_CHECK int bm_edhoc_read(struct bm_edhoc *e, uint8_t *message, size_t size);
/* Write the error message (6) that belongs to the failure: code 1 with the text "refused", 2 with the own suites, 3. BM_OK;
 * BM_ERR_STATE if there is none to send, as after the peer's own; BM_ERR_SPACE. */
BM_MUST_CHECK int bm_edhoc_error(struct bm_edhoc *e, uint8_t *out, size_t out_size, size_t *out_len);
/* EDHOC_Exporter(label, context, size) (4.2.1) once the handshake is complete; before that BM_ERR_STATE. size is at most
 * 255 * 32 (RFC 5869, 2.3). */
BM_MUST_CHECK int bm_edhoc_export(const struct bm_edhoc *e, uint32_t label, const uint8_t *context, size_t context_size,
                                  uint8_t *out, size_t size);
/* EDHOC_KeyUpdate(context) (appendix H): PRK_out is replaced and the old one is gone. */
BM_MUST_CHECK int bm_edhoc_key_update(struct bm_edhoc *e, const uint8_t *context, size_t context_size);
/* Wipe; the handshake is as before bm_edhoc_start. */
void bm_edhoc_wipe(struct bm_edhoc *e);

#endif
