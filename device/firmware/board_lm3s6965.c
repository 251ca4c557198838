/* QEMU's lm3s6965evb. Clock, UARTs and tick are those of the LM3S6965 (data sheet of 2012, chapters 3, 5, 8, 12); what the
 * emulator has no part for is emulated, and named so: flash that survives, option bytes, and a button. */
#include "board.h"
#include "start.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define NVIC_ENABLE REGISTER(0xE000E100u)

#define RCC REGISTER(0x400FE060u)
#define RIS REGISTER(0x400FE050u)
#define RCGC1 REGISTER(0x400FE104u)
#define RCGC2 REGISTER(0x400FE108u)
#define GPIO_AFSEL(port) REGISTER((port) + 0x420u)
#define GPIO_DEN(port) REGISTER((port) + 0x51Cu)

enum { CLOCK = 50000000, TICK = CLOCK / 1000 };
enum { BYPASS = 1 << 11, XTAL_8_MHZ = 0xE << 6, DIVIDE_BY_4 = 1 << 22 | 3 << 23, PLL_LOCKED = 1 << 6 }; /* RCC, RIS */
enum { UARTS = 7, PORTS = 1 << 0 | 1 << 3 | 1 << 6 };                                                  /* RCGC1, RCGC2 */
enum { PORT_A = 0x40004000, PORT_D = 0x40007000, PORT_G = 0x40026000 };
enum { IRQ_UART0 = 5, IRQ_UART1 = 6 };
enum { LINE_BAUD = 115200, CHIP_BAUD = 230400, WAKE_BAUD = 115200 };
enum { CTRL_B = 2, CTRL_L = 12, PRESS_MS = 200, HOLD_MS = 5200 };

/* One PL011 (ARM DDI 0183). */
struct uart {
    uint32_t data;
    uint32_t unused0[5];
    uint32_t flags;
    uint32_t unused1[2];
    uint32_t divisor;
    uint32_t fraction; /* 64ths */
    uint32_t line;
    uint32_t control;
    uint32_t level;
    uint32_t mask;
};
enum { RX_EMPTY = 1 << 4, TX_FULL = 1 << 5 };              /* flags */
enum { FIFOS = 1 << 4, BITS_7 = 2 << 5, BITS_8 = 3 << 5 }; /* line */
enum { ENABLE = 1 << 0 | 1 << 8 | 1 << 9 };                /* control: UART, transmitter, receiver */
enum { RX = 1 << 4, RX_LATE = 1 << 6 };                    /* mask: by level, by time */

static volatile struct uart *uart_at(unsigned uart)
{
    return (volatile struct uart *)(0x4000C000u + uart * 0x1000u);
}

/* Received bytes between interrupt and main; the console is looked at when asked. */
enum { RING = 128 };
static struct ring {
    volatile uint8_t in, out; /* counts, modulo 256 */
    uint8_t bytes[RING];
} rings[BOARD_CHIP + 1];

const uint8_t board_chip_echo = 0;

static volatile uint32_t now;
static uint32_t button_until;

void board_tick(void)
{
    now++;
}

void board_nmi(void)
{
    fault(); /* nothing raises it */
}

/* Reading clears the interrupt. A full ring stops listening until there is room: the FIFO has 16 bytes more, and QEMU then lets its
 * sender wait. */
static void fill(unsigned n)
{
    struct ring *ring = &rings[n];
    volatile struct uart *uart = uart_at(n);

    while ((uart->flags & RX_EMPTY) == 0) {
        if ((uint8_t)(ring->in - ring->out) == RING) {
            uart->mask = 0;
            return;
        }
        ring->bytes[ring->in % RING] = (uint8_t)uart->data;
        ring->in++;
    }
}

static void interrupt(void)
{
    fill(BOARD_LINE);
    fill(BOARD_CHIP);
}

__attribute__((section(".vectors.board"), used)) static void (*const vectors[])(void) = {
    [IRQ_UART0] = interrupt, [IRQ_UART1] = interrupt};

static void set_up(unsigned n, uint32_t baud, uint32_t bits)
{
    volatile struct uart *uart = uart_at(n);
    uint32_t divisor = (CLOCK * 4u + baud / 2) / baud; /* 64 * clock / (16 * baud) */

    uart->control = 0;
    uart->divisor = divisor / 64;
    uart->fraction = divisor % 64;
    uart->line = bits | FIFOS;
    uart->control = ENABLE;
}

static void load_flash(void);
static int read_console(uint8_t *byte);

void board_start(void)
{
    RCC = BYPASS | XTAL_8_MHZ; /* 5.2.4.2: PLL with power, bypassed until it is locked, then 200 MHz by 4 */
    while ((RIS & PLL_LOCKED) == 0) {
    }
    RCC = DIVIDE_BY_4 | XTAL_8_MHZ;
    RCGC1 |= UARTS;
    RCGC2 |= PORTS;
    GPIO_AFSEL(PORT_A) = GPIO_DEN(PORT_A) = 3u << 0;
    GPIO_AFSEL(PORT_D) = GPIO_DEN(PORT_D) = 3u << 2;
    GPIO_AFSEL(PORT_G) = GPIO_DEN(PORT_G) = 3u << 0;
    set_up(BOARD_LINE, LINE_BAUD, BITS_8);
    set_up(BOARD_CHIP, CHIP_BAUD, BITS_7);
    set_up(BOARD_CONSOLE, LINE_BAUD, BITS_8);
    uart_at(BOARD_LINE)->mask = RX | RX_LATE;
    uart_at(BOARD_CHIP)->mask = RX | RX_LATE;
    NVIC_ENABLE = 1u << IRQ_UART0 | 1u << IRQ_UART1;
    SYSTICK_RELOAD = TICK - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7; /* processor's clock, interrupt, on */
    load_flash();
}

uint32_t board_now(void)
{
    return now;
}

void board_sleep(void)
{
    __asm__ volatile("cpsid i" ::: "memory"); /* a byte that comes now wakes, and is handled behind cpsie */
    if (rings[BOARD_LINE].in == rings[BOARD_LINE].out && rings[BOARD_CHIP].in == rings[BOARD_CHIP].out) {
        __asm__ volatile("wfi");
    }
    __asm__ volatile("cpsie i" ::: "memory");
}

int board_receive(enum board_uart n, uint8_t *byte)
{
    struct ring *ring = &rings[n];

    if (n == BOARD_CONSOLE) {
        return read_console(byte);
    }
    if (ring->in == ring->out) {
        return 0;
    }
    *byte = ring->bytes[ring->out % RING];
    ring->out++;
    uart_at(n)->mask = RX | RX_LATE;
    return 1;
}

void board_send(enum board_uart n, const uint8_t *bytes, size_t size)
{
    volatile struct uart *uart = uart_at(n);

    for (; size > 0; size--) {
        while ((uart->flags & TX_FULL) != 0) {
        }
        uart->data = *bytes++;
    }
}

void board_wake_chip(void)
{
    static const uint8_t token = 0; /* start bit and 7 bits: 69 us low */

    set_up(BOARD_CHIP, WAKE_BAUD, BITS_7);
    board_send(BOARD_CHIP, &token, 1);
    for (uint32_t start = now; now - start < 3;) { /* 2 ms at least; the token takes 0.1 of them */
        board_sleep();
    }
    set_up(BOARD_CHIP, CHIP_BAUD, BITS_7);
}

/* Emulated: a button. Ctrl+B on the console presses it, Ctrl+L holds it down long enough for a release. */

static int read_console(uint8_t *byte)
{
    volatile struct uart *uart = uart_at(BOARD_CONSOLE);

    if ((uart->flags & RX_EMPTY) != 0) {
        return 0;
    }
    *byte = (uint8_t)uart->data;
    if (*byte == CTRL_B || *byte == CTRL_L) {
        button_until = now + (*byte == CTRL_B ? PRESS_MS : HOLD_MS);
        return 0;
    }
    return 1;
}

int board_button(void)
{
    return (int32_t)(button_until - now) > 0;
}

/* Emulated: flash, and the option bytes that close the debug port, as files of the machine that the emulator runs on. Their names
 * begin with what the emulator's command line says. What is programmed or erased is in the file when the call returns, by one
 * write each: an emulator that is killed leaves what a part without supply leaves. Calls are those of "Semihosting for AArch32
 * and AArch64" (ARM). */

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_SEEK = 0x0A, SYS_GET_CMDLINE = 0x15, SYS_EXIT = 0x18 };
enum { MODE_READ = 1, MODE_UPDATE = 3, MODE_WRITE = 5, RUN_TIME_ERROR = 0x20023, EXIT = 0x20026 };
enum { NAME_MAX = 248, SUFFIX_SIZE = 7, NVM_SIZE = BM_FLASH_PAGES * BOARD_PAGE_SIZE };

/* In memory that the product does not have. */
__attribute__((section(".nvm"))) static struct {
    uint8_t flash[NVM_SIZE]; /* board_flash, to whoever may only read it */
    char name[NAME_MAX + SUFFIX_SIZE];
    int name_size;
    int file;
    uint32_t writes_left; /* until the supply fails; 0: it never does */
    uint8_t debug_closed;
} emulated;

static int semihosting(int operation, const void *arguments)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

/* A handle, or -1. */
static int open_file(const char suffix[SUFFIX_SIZE], int mode)
{
    const struct {
        const char *name;
        int mode;
        int size;
    } open = {emulated.name, mode, emulated.name_size + SUFFIX_SIZE - 1};

    for (int i = 0; i < SUFFIX_SIZE; i++) {
        emulated.name[emulated.name_size + i] = suffix[i];
    }
    return semihosting(SYS_OPEN, &open);
}

/* 1 if all bytes came. */
static int read_file(int file, void *bytes, uint32_t size)
{
    const struct {
        int file;
        void *bytes;
        uint32_t size;
    } read = {file, bytes, size};

    return semihosting(SYS_READ, &read) == 0;
}

static void load_flash(void)
{
    struct {
        char *name;
        int size;
    } line = {emulated.name, NAME_MAX};

    (void)semihosting(SYS_GET_CMDLINE, &line);
    emulated.name_size = line.size;
    emulated.debug_closed = open_file(".debug", MODE_READ) >= 0;
    emulated.file = open_file(".flash", MODE_UPDATE);
    if (!read_file(emulated.file, emulated.flash, NVM_SIZE)) {
        (void)semihosting(SYS_EXIT, (const void *)RUN_TIME_ERROR);
    }
    int supply = open_file(".power", MODE_READ); /* a test's, which says how long it lasts */
    if (supply < 0 || !read_file(supply, &emulated.writes_left, sizeof emulated.writes_left)) {
        emulated.writes_left = 0;
    }
}

/* What lies at an offset, into the file. */
static int save(uint32_t offset, uint32_t size)
{
    const struct {
        int file;
        uint32_t offset;
    } seek = {emulated.file, offset};
    const struct {
        int file;
        const uint8_t *bytes;
        uint32_t size;
    } write = {emulated.file, emulated.flash + offset, size};

    if (emulated.writes_left > 0 && --emulated.writes_left == 0) {
        (void)semihosting(SYS_EXIT, (const void *)EXIT);
    }
    return semihosting(SYS_SEEK, &seek) == 0 && semihosting(SYS_WRITE, &write) == 0 ? BM_OK : BM_ERR_PORT;
}

int board_flash_program(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size)
{
    (void)user;
    offset += page * BOARD_PAGE_SIZE;
    for (size_t i = 0; i < size; i++) {
        emulated.flash[offset + i] &= data[i]; /* from 1 to 0 alone, as in flash */
    }
    return save(offset, size);
}

int board_flash_erase(void *user, unsigned page)
{
    uint32_t offset = page * BOARD_PAGE_SIZE;

    (void)user;
    for (uint32_t i = 0; i < BOARD_PAGE_SIZE; i++) {
        emulated.flash[offset + i] = 0xFF;
    }
    return save(offset, BOARD_PAGE_SIZE);
}

void board_debug_close(void *user)
{
    (void)user;
    emulated.debug_closed = open_file(".debug", MODE_WRITE) >= 0;
}

int board_debug_closed(void *user)
{
    (void)user;
    return emulated.debug_closed;
}
