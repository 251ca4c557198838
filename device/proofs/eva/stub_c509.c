#include "stubs.h"

/* A certificate of the profile, whose fields lie in its bytes: here in others of any values. */
static int any_certificate(struct bm_certificate *c, const uint8_t *bytes, size_t size, size_t least)
{
    static uint8_t fields[BM_ORDER_CERTIFICATE_MAX];

    use(bytes, size);
    any(c, sizeof *c);
    any(fields, sizeof fields);
    if (size < least || Frama_C_interval(0, 1)) {
        return BM_ERR_MALFORMED;
    }
    c->signed_bytes = bytes;
    c->signed_size = size;
    c->issuer = fields;
    c->subject = fields + BM_ORDER_NAME_SIZE;
    c->key = fields + 16;
    c->signature = fields + sizeof fields - BM_SIGNATURE_SIZE;
    c->first = fields + 49;
    c->last = fields + 57;
    return BM_OK;
}

int bm_c509_order(struct bm_certificate *c, const uint8_t *bytes, size_t size)
{
    return any_certificate(c, bytes, size, ORDER_CERTIFICATE_MIN);
}

int bm_c509_unit(struct bm_certificate *c, const uint8_t *bytes, size_t size)
{
    return any_certificate(c, bytes, size, UNIT_CERTIFICATE_MIN);
}

int bm_root_name_allowed(const uint8_t name[BM_ROOT_NAME_SIZE])
{
    use(name, BM_ROOT_NAME_SIZE);
    return Frama_C_interval(0, 1);
}

int bm_signature_allowed(const uint8_t signature[BM_SIGNATURE_SIZE])
{
    use(signature, BM_SIGNATURE_SIZE);
    return Frama_C_interval(0, 1);
}
