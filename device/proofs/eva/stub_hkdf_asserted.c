/* As the other, but for ID and EAD of edhoc.c, which authenticate asserts to lie in the message: both have any place and any
 * size there, and of what bounds their sum Eva knows nothing here. */
#define ASSERTED_IN_STRING(count) (1u << ((count) - 1)) /* ID behind its map's head, EAD behind CRED */
#define ASSERTED_IN_CONTEXT(count) ((count) > 1 ? 1u << 2 | 1u << 6 : 0) /* of all the parts */
#include "stub_hkdf.c"
