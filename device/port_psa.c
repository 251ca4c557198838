//go:build psa

#include "port_psa.h"

#include "internal.h"

enum {
    BITS = 256,
    POINT_SIZE = 1 + BM_KEY_SIZE, /* 04, X, Y */
    SECRET_SIZE = 32
};

static int answer(psa_status_t status)
{
    return status == PSA_SUCCESS ? BM_OK : BM_ERR_PORT;
}

static psa_key_attributes_t attributes(psa_key_type_t type, psa_algorithm_t algorithm, psa_key_usage_t usage)
{
    psa_key_attributes_t a = psa_key_attributes_init();

    psa_set_key_type(&a, type);
    psa_set_key_algorithm(&a, algorithm);
    psa_set_key_usage_flags(&a, usage);
    return a;
}

static int export_public(psa_key_id_t key, uint8_t out[BM_KEY_SIZE])
{
    uint8_t point[POINT_SIZE];
    size_t size;

    int status = answer(psa_export_public_key(key, point, sizeof point, &size));
    if (status == BM_OK) {
        bm_copy(out, point + 1, BM_KEY_SIZE);
    }
    return status;
}

static int random(void *user, uint8_t out[32])
{
    (void)user;
    return answer(psa_generate_random(out, 32));
}

static int public_key(void *user, uint8_t key[BM_KEY_SIZE])
{
    const struct bm_psa *psa = user;

    return export_public(psa->identity, key);
}

static int sign(void *user, const uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE])
{
    const struct bm_psa *psa = user;
    size_t size;

    return answer(psa_sign_hash(psa->identity, PSA_ALG_ECDSA(PSA_ALG_SHA_256), digest, BM_HASH_SIZE, signature,
                                BM_SIGNATURE_SIZE, &size));
}

static int verify(void *user, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                  const uint8_t signature[BM_SIGNATURE_SIZE])
{
    psa_key_attributes_t a = attributes(PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1), PSA_ALG_ECDSA(PSA_ALG_SHA_256),
                                        PSA_KEY_USAGE_VERIFY_HASH);
    uint8_t point[POINT_SIZE] = {4};
    psa_key_id_t id;

    (void)user;
    bm_copy(point + 1, key, BM_KEY_SIZE);
    psa_status_t status = psa_import_key(&a, point, sizeof point, &id);
    if (status == PSA_SUCCESS) {
        status = psa_verify_hash(id, PSA_ALG_ECDSA(PSA_ALG_SHA_256), digest, BM_HASH_SIZE, signature, BM_SIGNATURE_SIZE);
        (void)psa_destroy_key(id);
    }
    return status == PSA_ERROR_INVALID_SIGNATURE ? BM_ERR_AUTH : answer(status);
}

static int ephemeral(void *user, uint8_t key[BM_KEY_SIZE])
{
    psa_key_attributes_t a =
        attributes(PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1), PSA_ALG_ECDH, PSA_KEY_USAGE_DERIVE);
    struct bm_psa *psa = user;

    bm_psa_end(psa);
    psa_set_key_bits(&a, BITS);
    int status = answer(psa_generate_key(&a, &psa->ephemeral));
    if (status == BM_OK) {
        status = export_public(psa->ephemeral, key);
    }
    if (status != BM_OK) {
        bm_psa_end(psa);
    }
    return status;
}

static int ecdh(void *user, int own, const uint8_t peer[BM_KEY_SIZE], uint8_t secret[SECRET_SIZE])
{
    const struct bm_psa *psa = user;
    uint8_t point[POINT_SIZE] = {4};
    size_t size;

    bm_copy(point + 1, peer, BM_KEY_SIZE);
    int status = answer(psa_raw_key_agreement(PSA_ALG_ECDH, own == BM_KEY_IDENTITY ? psa->identity : psa->ephemeral, point,
                                              sizeof point, secret, SECRET_SIZE, &size));
    if (status != BM_OK) {
        bm_wipe(secret, SECRET_SIZE);
    }
    return status;
}

static int aes(void *user, const uint8_t key[BM_AES_KEY_SIZE], uint8_t block[BM_AES_BLOCK_SIZE])
{
    psa_key_attributes_t a = attributes(PSA_KEY_TYPE_AES, PSA_ALG_ECB_NO_PADDING, PSA_KEY_USAGE_ENCRYPT);
    uint8_t out[BM_AES_BLOCK_SIZE];
    psa_key_id_t id;
    size_t size;

    (void)user;
    psa_status_t status = psa_import_key(&a, key, BM_AES_KEY_SIZE, &id);
    if (status == PSA_SUCCESS) {
        status = psa_cipher_encrypt(id, PSA_ALG_ECB_NO_PADDING, block, BM_AES_BLOCK_SIZE, out, sizeof out, &size);
        (void)psa_destroy_key(id);
    }
    if (status == PSA_SUCCESS) {
        bm_copy(block, out, sizeof out);
    }
    bm_wipe(out, sizeof out);
    return answer(status);
}

/* One of enum bm_key_usage, or 0. */
static uint8_t usage(psa_key_id_t key)
{
    psa_key_attributes_t a = psa_key_attributes_init();
    uint8_t usage = 0;

    if (psa_get_key_attributes(key, &a) != PSA_SUCCESS) {
        return 0;
    }
    psa_algorithm_t algorithm = psa_get_key_algorithm(&a);
    if (psa_get_key_type(&a) != PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1) || psa_get_key_bits(&a) != BITS) {
        usage = 0;
    } else if (algorithm == PSA_ALG_ECDSA(PSA_ALG_SHA_256) && psa_get_key_usage_flags(&a) & PSA_KEY_USAGE_SIGN_HASH) {
        usage = BM_DIGITAL_SIGNATURE;
    } else if (algorithm == PSA_ALG_ECDH && psa_get_key_usage_flags(&a) & PSA_KEY_USAGE_DERIVE) {
        usage = BM_KEY_AGREEMENT;
    }
    psa_reset_key_attributes(&a);
    return usage;
}

int bm_psa_start(struct bm_psa *psa, struct bm_port *port, psa_key_id_t identity)
{
    psa->identity = identity;
    psa->ephemeral = 0;
    port->user = psa;
    port->random = random;
    port->public_key = public_key;
    port->sign = sign;
    port->verify = verify;
    port->ephemeral = ephemeral;
    port->ecdh = ecdh;
    port->aes = aes;
    port->key_usage = usage(identity);
    port->ephemeral_uses = 255;
    return port->key_usage == 0 ? BM_ERR_PORT : BM_OK;
}

void bm_psa_end(struct bm_psa *psa)
{
    if (psa->ephemeral != 0) {
        (void)psa_destroy_key(psa->ephemeral);
        psa->ephemeral = 0;
    }
}
