/* Reader and writer as they are, but for bm_read_skip: here it goes on by a byte or more, inside the input, or refuses. */
#include "stubs.h"

#define bm_read_skip bm_read_skip_as_it_is
#include "../../cbor.c"
#undef bm_read_skip

void bm_read_skip(struct bm_reader *r)
{
    if (r->bad || r->at == r->size || Frama_C_interval(0, 1)) {
        r->bad = 1;
    } else {
        r->at = Frama_C_unsigned_int_interval(r->at + 1, r->size);
    }
}
