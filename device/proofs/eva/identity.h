/* What the harnesses want of an identity that was taken. */
#ifndef IDENTITY_H
#define IDENTITY_H

#include "stubs.h"

/* Both certificates lie in id. */
static inline void use_identity(const struct bm_identity *identity)
{
    /*@ assert identity->id_size <= BM_ID_CRED_MAX; */
    /*@ assert identity->unit_at + identity->unit_size <= BM_ID_CRED_MAX; */
    /*@ assert identity->order_at + identity->order_size <= BM_ID_CRED_MAX; */
    ACCEPTED();
}

#endif
