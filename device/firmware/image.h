/* The constants of an image that was built for nobody: no anchor has this hash, so nothing can be installed. A product
 * is built with those of `birthmark ca bundle --c`; `birthmark unit board` puts them into the image itself. */
#include "birthmark.h"

static const struct bm_image bm_image_constants = {.anchor_hash = {0}};
