/* Primitives and port calls as any board and any key could make them behave: inputs are read at both ends, outputs are any
 * bytes, a port call that fails has written nothing. The primitives' own proofs are families of their own. */
#ifndef STUBS_H
#define STUBS_H

#include "harness.h"
#include "internal.h"

/* No certificate is shorter: the family c509 proves it, and its stub refuses what is. */
enum { ORDER_CERTIFICATE_MIN = 144, UNIT_CERTIFICATE_MIN = 123 };

static inline int any_status(void)
{
    return Frama_C_interval(0, 1) ? BM_OK : BM_ERR_PORT;
}

static inline int stub_verify(void *user, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                              const uint8_t signature[BM_SIGNATURE_SIZE])
{
    (void)user;
    use(key, BM_KEY_SIZE);
    use(digest, BM_HASH_SIZE);
    use(signature, BM_SIGNATURE_SIZE);
    return Frama_C_interval(0, 1) ? BM_ERR_AUTH : any_status();
}

static inline int stub_output(uint8_t *out, size_t size)
{
    int status = any_status();

    if (status == BM_OK) {
        any(out, size);
    }
    return status;
}

static inline int stub_ephemeral(void *user, uint8_t key[BM_KEY_SIZE])
{
    (void)user;
    return stub_output(key, BM_KEY_SIZE);
}

static inline int stub_sign(void *user, const uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE])
{
    (void)user;
    use(digest, BM_HASH_SIZE);
    return stub_output(signature, BM_SIGNATURE_SIZE);
}

static inline int stub_ecdh(void *user, int own, const uint8_t peer[BM_KEY_SIZE], uint8_t secret[32])
{
    (void)user, (void)own;
    use(peer, BM_KEY_SIZE);
    return stub_output(secret, 32);
}

#endif
