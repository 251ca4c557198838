#include "installed.h"

#include "identity.h"

void parse_id(void)
{
    struct bm_identity identity;

    FOR_EACH_SIZE(size) {
        if (bm_installed_parse(&identity, INPUT(size), size) == BM_OK) {
            use_identity(&identity);
        }
    }
}
