/* What the firmware asks of a board; board_NAME.c has all of it, and nothing else knows a register (docs/porting.md). */
#ifndef BOARD_H
#define BOARD_H

#include "birthmark.h"

enum board_uart { BOARD_LINE = 0, BOARD_CHIP = 1, BOARD_CONSOLE = 2 };

/* Clocks, UARTs, the tick of a millisecond, interrupts, flash. */
void board_start(void);
/* Milliseconds since reset; wraps. */
uint32_t board_now(void);
/* Sleep until an interrupt: the tick, or a byte on line or chip that board_receive has not given yet. */
void board_sleep(void);
/* 1 and the next byte that came, else 0. What comes faster than it is fetched gets lost. */
BM_MUST_CHECK int board_receive(enum board_uart uart, uint8_t *byte);
/* Returns when the last byte is on its way. */
void board_send(enum board_uart uart, const uint8_t *bytes, size_t size);
/* 1 where the chip's wire brings back what is sent on it. */
extern const uint8_t board_chip_echo;
/* The chip's wake token, and the pause after it (swi.h). */
void board_wake_chip(void);
/* 1 while the product's button is down, without its bounce. */
BM_MUST_CHECK int board_button(void);

/* For the table of vectors: the interrupt of the tick, and the one that cannot be masked. That returns where a read of board_flash
 * was to blame, as flash with error correction has it where power failed in a write: the library knows a torn record by its CRC.
 * Anything else is a fault (start.h). */
void board_tick(void);
void board_nmi(void);

/* Three pages of flash as struct bm_port wants them; the link script says where. */
#define BOARD_PAGE_SIZE 2048u
extern const uint8_t board_flash[];
int board_flash_program(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size);
int board_flash_erase(void *user, unsigned page);

/* The debug port, as struct bm_board wants it. */
void board_debug_close(void *user);
int board_debug_closed(void *user);

#endif
