#include "birthmark.h"

unsigned bm_abi(void)
{
    return BM_ABI;
}
