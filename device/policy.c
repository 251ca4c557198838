#include "policy.h"

#include "internal.h"

enum { WINDOW_MS = 60000, HOLD_MS = 5000 };
enum { UP = 0, DOWN = 1, UNKNOWN = 2 }; /* levels: what is down at power-up is UNKNOWN until it is up */

int bm_expected(void *expected, const uint8_t serial[BM_UNIT_NAME_SIZE], const uint8_t code[BM_CODE_SIZE])
{
    const struct bm_expected *e = expected;

    return (e->serial != NULL || e->code != NULL) &&
           (e->serial == NULL || bm_equal(serial, e->serial, BM_UNIT_NAME_SIZE)) &&
           (e->code == NULL || bm_equal(code, e->code, BM_CODE_SIZE));
}

void bm_gesture_start(struct bm_gesture *g, uint32_t now)
{
    bm_wipe(g, sizeof *g);
    g->level = UNKNOWN;
    g->now = now;
}

int bm_gesture_tick(struct bm_gesture *g, uint32_t now, int down)
{
    uint32_t elapsed = now - g->now;

    g->now = now;
    g->window = elapsed < g->window ? (uint16_t)(g->window - elapsed) : 0;
    if (!down) {
        g->level = UP;
    } else if (g->level == UP) {
        g->level = DOWN;
        g->bound = 0;
        g->window = WINDOW_MS;
        return BM_GESTURE_PRESSED;
    } else if (g->level == DOWN && g->window <= WINDOW_MS - HOLD_MS) {
        g->level = UNKNOWN; /* once */
        g->window = 0;
        return BM_GESTURE_RELEASE;
    }
    return BM_GESTURE_NONE;
}

int bm_gesture(void *gesture, const uint8_t serial[BM_UNIT_NAME_SIZE], const uint8_t code[BM_CODE_SIZE])
{
    struct bm_gesture *g = gesture;

    (void)serial;
    if (g->window == 0) {
        return 0;
    }
    if (!g->bound) {
        g->bound = 1;
        bm_copy(g->code, code, BM_CODE_SIZE);
    }
    return bm_equal(g->code, code, BM_CODE_SIZE);
}

int bm_wired(void *policy, const uint8_t serial[BM_UNIT_NAME_SIZE], const uint8_t code[BM_CODE_SIZE])
{
    (void)policy, (void)serial, (void)code;
    return 1;
}
