/* What the image was built with; the hash of the firmware is not among it. */
#ifndef IMAGE_CONSTANTS_H
#define IMAGE_CONSTANTS_H

#include "birthmark.h"

const struct bm_image *image_constants(void);

#endif
