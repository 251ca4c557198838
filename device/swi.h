/* The ATECC608's single-wire interface (SWI) behind a UART: a bus for its driver over three calls of the board.
 *
 * Each bit travels as one character, a symbol, least significant bit first, at 230,400 baud with 7 data bits, no parity and 1
 * stop bit (ATECC608B-TFLXTLS data sheet, section 8). Both directions share the wire, so a board that does not part them in
 * hardware hears what it says. */
#ifndef BM_SWI_H
#define BM_SWI_H

#include "port_atecc608.h"

/* Calls return BM_OK or BM_ERR_PORT. */
struct bm_swi {
    void *user; /* handed to each call */
    /* Wake token and pause: the character 00 at 115,200 baud or slower, at least 60 us low, then 1.5 ms for the chip. */
    int (*wake)(void *user);
    int (*send)(void *user, uint8_t symbol);
    /* The next symbol, if it comes within so many milliseconds; BM_ERR_PORT is how silence is told. */
    int (*receive)(void *user, uint8_t *symbol, unsigned milliseconds);
    uint8_t echo; /* 1: the board hears each symbol that it sends */
};

/* Make bus the one behind swi, which must stay where it is. The bus asks the chip every 2 ms whether it has finished, so a
 * command takes its own time and not the longest. */
void bm_swi_start(struct bm_atecc608_bus *bus, struct bm_swi *swi);

#endif
