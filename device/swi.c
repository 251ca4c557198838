#include "swi.h"

/* ATECC608B-TFLXTLS data sheet, section 8 (flags: table 8-1). A zero is the low pulse of a one and a second pulse after it. */
enum { ZERO = 0x7D, ONE = 0x7F };
enum { FLAG_COMMAND = 0x77, FLAG_TRANSMIT = 0x88, FLAG_IDLE = 0xBB };

enum {
    MS_POLL = 2,  /* from one transmit flag to the next; a chip that is ready answers within 0.1 ms */
    MS_GAP = 100,  /* within an answer, and for an echo: a pause of the line, or of the machine that simulates the chip */
    MS_LATE = 100, /* what is waited beyond the chip's longest time */
    STALE_MAX = 8 * 256 /* symbols; a line that babbles on is not listened to for ever */
};

static int send_byte(const struct bm_swi *swi, unsigned byte)
{
    for (unsigned bit = 0; bit < 8; bit++, byte >>= 1) {
        uint8_t echo;
        if (swi->send(swi->user, byte & 1 ? ONE : ZERO) != BM_OK ||
            (swi->echo && swi->receive(swi->user, &echo, MS_GAP) != BM_OK)) {
            return BM_ERR_PORT;
        }
    }
    return BM_OK;
}

/* A one is a single low pulse, which the UART takes for its start bit, and if the chip is slow for the first data bit too.
 * Whatever else a symbol is, it is a zero: the group's CRC tells if it was noise. */
static int receive_byte(const struct bm_swi *swi, uint8_t *byte, unsigned milliseconds)
{
    unsigned bits = 0;

    for (unsigned bit = 0; bit < 8; bit++) {
        uint8_t symbol;
        if (swi->receive(swi->user, &symbol, bit == 0 ? milliseconds : MS_GAP) != BM_OK) {
            return BM_ERR_PORT;
        }
        bits |= ((symbol | 1u) & ONE) == ONE ? 1u << bit : 0;
    }
    *byte = (uint8_t)bits;
    return BM_OK;
}

static int wake(void *user)
{
    const struct bm_swi *swi = user;

    return swi->wake(swi->user);
}

static int send(void *user, const uint8_t *group, size_t size)
{
    int status = send_byte(user, FLAG_COMMAND);

    for (size_t i = 0; status == BM_OK && i < size; i++) {
        status = send_byte(user, group[i]);
    }
    return status;
}

static int receive(void *user, uint8_t *group, size_t size, unsigned milliseconds)
{
    const struct bm_swi *swi = user;
    unsigned waited = MS_POLL;

    /* The wake token's echo, and the answer to a flag that was given up too early, while the chip works anyway. */
    for (unsigned i = 0; i < STALE_MAX && swi->receive(swi->user, group, MS_POLL) == BM_OK; i++) {
    }
    do {
        if (waited > milliseconds + MS_LATE || send_byte(swi, FLAG_TRANSMIT) != BM_OK) {
            return BM_ERR_PORT;
        }
        waited += MS_POLL;
    } while (receive_byte(swi, group, MS_POLL) != BM_OK);
    for (size_t i = 1; i < group[0]; i++) {
        if (i == size || receive_byte(swi, group + i, MS_GAP) != BM_OK) {
            return BM_ERR_PORT;
        }
    }
    return BM_OK;
}

static void idle(void *user)
{
    (void)send_byte(user, FLAG_IDLE);
}

void bm_swi_start(struct bm_atecc608_bus *bus, struct bm_swi *swi)
{
    bus->user = swi;
    bus->wake = wake;
    bus->send = send;
    bus->receive = receive;
    bus->idle = idle;
}
