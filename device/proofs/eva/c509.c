#include "stubs.h"

static void use_certificate(const struct bm_certificate *c, size_t issuer_size, size_t subject_size)
{
    use(c->signed_bytes, c->signed_size);
    use(c->issuer, issuer_size);
    use(c->subject, subject_size);
    use(c->key, BM_COMPRESSED_SIZE);
    use(c->signature, BM_SIGNATURE_SIZE);
    ACCEPTED();
}

void order(void)
{
    FOR_EACH_SIZE(size) {
        struct bm_certificate c;
        if (bm_c509_order(&c, INPUT(size), size) == BM_OK) {
            /*@ assert ORDER_CERTIFICATE_MIN <= size; */
            use_certificate(&c, BM_ROOT_NAME_SIZE, BM_ORDER_NAME_SIZE);
            use(c.first, BM_UNIT_NAME_SIZE);
            use(c.last, BM_UNIT_NAME_SIZE);
        }
    }
}

void unit(void)
{
    FOR_EACH_SIZE(size) {
        struct bm_certificate c;
        if (bm_c509_unit(&c, INPUT(size), size) == BM_OK) {
            /*@ assert UNIT_CERTIFICATE_MIN <= size; */
            use_certificate(&c, BM_ORDER_NAME_SIZE, BM_UNIT_NAME_SIZE);
        }
    }
}
