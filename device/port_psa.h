/* struct bm_port over PSA Crypto API 1.0, for hosts and gateways. Tested on Mbed TLS 2.28. */
#ifndef BM_PORT_PSA_H
#define BM_PORT_PSA_H

#include <psa/crypto.h>

#include "birthmark.h"

struct bm_psa {
    psa_key_id_t identity;
    psa_key_id_t ephemeral; /* 0: none */
};

/* Fill the calls of port that belong to cryptography, with psa as their user; the flash calls stay as they are, and work on
 * the same user. identity is a P-256 key pair that the application has imported, generated or opened, after psa_crypto_init:
 * no byte of it passes through here. Its policy says what it is: PSA_ALG_ECDSA(PSA_ALG_SHA_256) and PSA_KEY_USAGE_SIGN_HASH, or
 * PSA_ALG_ECDH and PSA_KEY_USAGE_DERIVE. Any other gives BM_ERR_PORT. An ephemeral key serves until the next or bm_psa_end. */
BM_MUST_CHECK int bm_psa_start(struct bm_psa *psa, struct bm_port *port, psa_key_id_t identity);
/* Destroy the ephemeral key, once a handshake is over; the identity key stays. The port goes on. */
void bm_psa_end(struct bm_psa *psa);

#endif
