/* The peer link: two units meet over a serial line, pair, and send each other messages (docs/peerlink.md).
 *
 *   bm_peerlink_start      once, after reset; then for ever
 *   bm_peerlink_receive    each byte that the line brings
 *   bm_peerlink_tick       the time, at least every 100 ms
 *   bm_peerlink_connect    when the product wants to meet: at power-up, at the press of a button, after an event below
 *   bm_peerlink_send       once BM_PEERLINK_READY was told
 *
 * Nothing blocks but the chip. What happens without being asked for is told by config->changed. */
#ifndef BM_PEERLINK_H
#define BM_PEERLINK_H

#include "line.h"
#include "pairing.h"
#include "session.h"

#define BM_PEERLINK_HEADER_SIZE 5 /* type, session 2, number, part */
#define BM_PEERLINK_PART_MAX 112  /* bytes of a message in one frame */
#define BM_PEERLINK_PARTS_MAX 5   /* 560 bytes: a link of 557, a status list of 512 as a record */
#define BM_PEERLINK_IN_SIZE (BM_PEERLINK_PARTS_MAX * BM_PEERLINK_PART_MAX)
#define BM_PEERLINK_OUT_SIZE (BM_PEERLINK_HEADER_SIZE + BM_PEERLINK_IN_SIZE + BM_LINE_CRC_SIZE)
#define BM_PEERLINK_FRAME_SIZE (BM_PEERLINK_HEADER_SIZE + BM_PEERLINK_PART_MAX + BM_LINE_CRC_SIZE)
#define BM_PEERLINK_MESSAGE_MAX (BM_PEERLINK_IN_SIZE - BM_RECORD_OVERHEAD - 1) /* an application's, 547 */
#define BM_PEERLINK_ID_SIZE 13     /* ID_CRED_x by hash, {22: [-15, 8 bytes]} */
#define BM_CODE_SIZE 4 /* first bytes of SHA-256 of a unit's certificate, as on its label */

/* What a product is told. */
enum bm_peerlink_event {
    BM_PEERLINK_READY = 1,       /* both units are paired with each other and messages may go; reason 1: paired just now, else 0 */
    BM_PEERLINK_FAILED = 2,      /* the meeting is over; reason says why. A session that was ready before still is */
    BM_PEERLINK_UNDELIVERED = 3, /* nobody acknowledged the message that was sent last: connect again */
    BM_PEERLINK_RELEASED = 4,    /* the pairing is released, by the peer or by a release that the root signed; the session is over */
    BM_PEERLINK_CLOSED = 5       /* the session is over; reason says why, 0: the next one takes its place */
};

/* Why, beside enum bm_status (negative) and the number of a check of the peer's certificate (enum bm_check, enum
 * bm_peer_check). */
enum bm_peerlink_reason {
    BM_PEERLINK_STRANGER = 32,    /* not the unit that this one is paired with */
    BM_PEERLINK_TIMEOUT = 33,     /* the peer fell silent, or was never there */
    BM_PEERLINK_NOT_ALLOWED = 34, /* the own board said no: pair_allowed, or release_allowed to the peer's release */
    BM_PEERLINK_DECLINED = 35     /* the peer's board did */
};

enum bm_peerlink_state {
    BM_PEERLINK_IDLE = 0,
    BM_PEERLINK_MEETING = 1, /* a handshake or a pairing goes on, and there is no session yet */
    BM_PEERLINK_OPEN = 2,    /* a message may be sent */
    BM_PEERLINK_SENDING = 3  /* the last one is not acknowledged yet, or a handshake needs the line */
};

/* What the link asks of the product. The caller's, with everything in it; it outlives the link. */
struct bm_peerlink_config {
    const struct bm_port *port;
    const struct bm_image *image;
    const struct bm_identity *identity;
    uint8_t *in;    /* BM_PEERLINK_IN_SIZE bytes */
    uint8_t *out;   /* BM_PEERLINK_OUT_SIZE bytes */
    uint8_t *frame; /* BM_PEERLINK_FRAME_SIZE bytes for bm_peerlink_receive; NULL where bm_peerlink_frame is used */
    void *user;     /* handed to the calls that follow */
    /* Bytes for the line; returns when they are out or will be. */
    void (*send)(void *user, const uint8_t *bytes, size_t size);
    /* A message of the peer, until the call returns. */
    void (*received)(void *user, const uint8_t *message, size_t size);
    /* One of enum bm_peerlink_event. It may call bm_peerlink_connect and ask for state and peer, nothing else of the link. */
    void (*changed)(void *user, int event, int reason);
    /* 1 if the peer may release this unit's pairing over its session; NULL: never. */
    int (*release_allowed)(void *user);
    /* 1 if this genuine unit may become the peer: bm_expected, bm_gesture or bm_wired of policy.h, or the product's own. */
    int (*pair_allowed)(void *policy, const uint8_t serial[BM_UNIT_NAME_SIZE], const uint8_t code[BM_CODE_SIZE]);
    void *policy; /* handed to pair_allowed */
};

/* Where one conversation stands, as bytes 1 to 4 of a header say it: session, number, part. */
struct bm_peerlink_channel {
    uint32_t in;  /* of the last frame that was taken */
    uint32_t out; /* of the last that was sent */
};

/* One block of the caller's memory; all fields are private. Bytes come first, where one instruction of a Cortex-M0+ reaches them. */
struct bm_peerlink {
    uint8_t stage;
    uint8_t due;         /* what goes as soon as the line is free */
    uint8_t connect;     /* 1: and then, begin as Initiator */
    uint8_t ready;       /* 1: both units are paired with each other and messages may go */
    uint8_t fresh;       /* 1: since this meeting */
    uint8_t restarts;    /* after errors 2 and 3, on end: then the own certificate is sent by value */
    uint8_t check;       /* why the peer is refused, if it is for what it showed */
    uint8_t tries;       /* that are left to the part on the line; 0: there is none */
    uint8_t in_channel;  /* whose message is in the buffer */
    uint8_t out_channel;
    uint8_t out_type;
    struct bm_trust_version ours;
    struct bm_trust_version theirs;
    uint16_t out_size;
    uint16_t out_at;     /* where in the message the part on the line begins */
    uint16_t pause;      /* milliseconds, the last one; 0: none since a success */
    const struct bm_peerlink_config *config;
    uint32_t now;
    uint32_t timers[2];  /* milliseconds that are left, 0: does not run; and a mark, if it was set since the last tick */
    struct bm_peerlink_channel channels[2];
    struct bm_edhoc_config edhoc_config;
    struct bm_pairing peer; /* the record in flash; while it is open, with the unit of this meeting */
    uint8_t id[BM_PEERLINK_ID_SIZE]; /* the own ID_CRED_x by hash */
    struct bm_line line;
    struct bm_edhoc edhoc;
    struct bm_session session;
};

/* sizeof(struct bm_peerlink) as the library was built. */
size_t bm_peerlink_size(void);
/* Begin without a session. now as in bm_peerlink_tick. BM_OK; BM_ERR_STATE if nothing is installed in the unit. */
BM_MUST_CHECK int bm_peerlink_start(struct bm_peerlink *link, const struct bm_peerlink_config *config, uint32_t now);
/* Take one byte from the line. The byte that ends a frame returns when that was handled: a second later for some messages. */
void bm_peerlink_receive(struct bm_peerlink *link, uint8_t byte);
/* Take one good frame, where a line that several share is received elsewhere (line.h): those of the peer link begin below 0x80,
 * the agent's above. */
void bm_peerlink_frame(struct bm_peerlink *link, const uint8_t *payload, size_t size);
/* Say what time it is, in milliseconds on a clock that may wrap. */
void bm_peerlink_tick(struct bm_peerlink *link, uint32_t now);
/* Meet the peer, as Initiator, from the next tick on; how it ends is told by config->changed. BM_OK; BM_ERR_STATE if a meeting
 * goes on already. */
BM_MUST_CHECK int bm_peerlink_connect(struct bm_peerlink *link);
/* Send a message, size bytes. BM_OK: it is on its way, and BM_PEERLINK_UNDELIVERED says if it got lost; BM_ERR_STATE unless
 * the state is BM_PEERLINK_OPEN; BM_ERR_SPACE above BM_PEERLINK_MESSAGE_MAX; BM_ERR_PORT. */
BM_MUST_CHECK int bm_peerlink_send(struct bm_peerlink *link, const uint8_t *message, size_t size);
/* Release the own pairing, at a person's gesture or by the product's decision, and tell a peer that is there. The session and a
 * meeting that goes on are over, of which config->changed tells nothing. BM_OK; BM_ERR_STATE if the unit is not paired;
 * BM_ERR_PORT: either record counts, the old or the new. */
BM_MUST_CHECK int bm_peerlink_unpair(struct bm_peerlink *link);
/* One of enum bm_peerlink_state. */
int bm_peerlink_state(const struct bm_peerlink *link);
/* The unit that this one is paired with or, while it is open, the one that was shown last, which has proven to be it only if
 * that meeting came to pair_allowed: both of what a label says. BM_OK or BM_ERR_STATE. */
BM_MUST_CHECK int bm_peerlink_peer(const struct bm_peerlink *link, uint8_t serial[BM_UNIT_NAME_SIZE],
                                   uint8_t code[BM_CODE_SIZE]);

#endif
