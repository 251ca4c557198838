/* Ready answers to pair_allowed (docs/peerlink.md, "Policies"). A firmware names one; none is the default. */
#ifndef BM_POLICY_H
#define BM_POLICY_H

#include "peerlink.h"

/* EXPECTED: the unit whose serial number or code was typed, scanned or set at the factory. */
struct bm_expected {
    const uint8_t *serial; /* BM_UNIT_NAME_SIZE bytes, or NULL: any */
    const uint8_t *code;   /* BM_CODE_SIZE bytes, or NULL: any; with both NULL nobody is expected */
};

BM_MUST_CHECK int bm_expected(void *expected, const uint8_t serial[BM_UNIT_NAME_SIZE], const uint8_t code[BM_CODE_SIZE]);

/* GESTURE: a button, or whatever a person does at the unit. A press opens a window of 60 s, at both ends, for the first unit that
 * asks and for no other; holding it for 5 s asks for the release of the pairing and closes the window. What is held since
 * power-up is no gesture. All fields are private. */
struct bm_gesture {
    uint8_t level;   /* as it was last seen */
    uint8_t bound;   /* code is set */
    uint16_t window; /* milliseconds that are left of it */
    uint32_t now;
    uint8_t code[BM_CODE_SIZE]; /* of the unit that asked first */
};

enum bm_gesture_event {
    BM_GESTURE_NONE = 0,
    /* A firmware calls bm_peerlink_connect, and where a meeting goes on, again: it may end for want of this press. */
    BM_GESTURE_PRESSED = 1,
    BM_GESTURE_RELEASE = 2 /* a firmware calls bm_peerlink_unpair */
};

/* Begin; now as in bm_peerlink_tick. */
void bm_gesture_start(struct bm_gesture *gesture, uint32_t now);
/* Say what time it is and whether the button, without its bounce, is down: at least every 100 ms. Returns one of enum
 * bm_gesture_event. */
BM_MUST_CHECK int bm_gesture_tick(struct bm_gesture *gesture, uint32_t now, int down);
BM_MUST_CHECK int bm_gesture(void *gesture, const uint8_t serial[BM_UNIT_NAME_SIZE], const uint8_t code[BM_CODE_SIZE]);

/* WIRED: the first genuine unit, on a wire that nobody else can reach. policy is not used. */
BM_MUST_CHECK int bm_wired(void *policy, const uint8_t serial[BM_UNIT_NAME_SIZE], const uint8_t code[BM_CODE_SIZE]);

#endif
