/* The unit's side of the production line (docs/wire.md): a request goes in, a reply comes out. */
#ifndef BM_AGENT_H
#define BM_AGENT_H

#include "line.h"
#include "pairing.h"
#include "port_atecc608.h"
#include "trust.h"

#define BM_REQUEST_MAX 640 /* bytes of payload */
#define BM_REPLY_MAX 512
#define BM_REVISION_SIZE 4
#define BM_LOCKS_SIZE 4
#define BM_REQUEST_SIZE (BM_REQUEST_MAX + BM_LINE_CRC_SIZE) /* bytes of the buffer that a request is received into */

/* What the agent asks of the board beside struct bm_port. */
struct bm_board {
    void *user; /* handed to each call */
    /* Bytes for the station; returns when they are out or will be. */
    void (*send)(void *user, const uint8_t *bytes, size_t size);
    /* Close the debug port for ever. What it returns is not believed: debug_closed is asked afterwards. */
    void (*debug_close)(void *user);
    /* 1 if the debug port is closed for ever, else 0. */
    int (*debug_closed)(void *user);
};

/* Where the unit stands, as its chip and flash said at hello, and as verbs that were good have changed it since. */
struct bm_survey {
    enum bm_unit_state state;
    uint8_t valid; /* 0: the next verb looks again, as after one that failed */
    uint8_t revision[BM_REVISION_SIZE];
    uint8_t locks[BM_LOCKS_SIZE];
    uint8_t key[BM_KEY_SIZE]; /* from BM_UNIT_PREPARED on */
};

/* One block of the caller's memory; all fields are private. */
struct bm_agent {
    const struct bm_image *image;
    const struct bm_port *port;
    struct bm_atecc608 *chip;
    const struct bm_board *board;
    struct bm_identity *identity;
    uint32_t session;
    uint16_t sequence;                   /* of the last reply */
    uint16_t reply_len;                  /* 0: no session yet */
    uint8_t serial[BM_CHIP_SERIAL_SIZE]; /* zeros until the chip has told it */
    uint8_t awaited;                     /* number of the EDHOC message that is to come; 0: no handshake is under way */
    uint8_t mode;                        /* enum bm_trust_mode, whom the handshake accepts */
    uint8_t check;                       /* what it found of the peer's certificates: bm_trust_peer's answer */
    struct bm_survey unit;
    struct bm_edhoc_config config;
    union {
        struct bm_edhoc handshake;
        struct bm_pairing pairing; /* of a verb that ends the handshake, as all others do */
    } memory;
    uint8_t reply[BM_REPLY_MAX + BM_LINE_CRC_SIZE];
};

/* sizeof(struct bm_agent) as the library was built. */
size_t bm_agent_size(void);
/* Begin without a session. What is handed over stays the caller's and outlives the agent. identity is what the unit shows
 * of itself; the agent loads it anew whenever it looks at the chip, and install changes it. */
void bm_agent_start(struct bm_agent *agent, const struct bm_image *image, const struct bm_port *port,
                    struct bm_atecc608 *chip, const struct bm_board *board, struct bm_identity *identity);
/* Take one frame's payload, size bytes, at the beginning of a buffer of BM_REQUEST_SIZE bytes, which is overwritten. It returns
 * when the request has been executed and the reply sent: seconds later for some verbs (docs/wire.md, "Verbs"). A request
 * begins with a byte from 0x80 on: what begins below that may be another protocol's on the same line. */
void bm_agent_frame(struct bm_agent *agent, uint8_t request[BM_REQUEST_SIZE], size_t size);

#endif
