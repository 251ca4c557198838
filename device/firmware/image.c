/* A file of its own, so that the compiler reads the constants from the image and does not build them into code. */
#include "image_constants.h"

#include BM_IMAGE

const struct bm_image *image_constants(void)
{
    return &bm_image_constants;
}
