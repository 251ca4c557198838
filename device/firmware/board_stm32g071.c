/* A board with an STM32G071xB, wired as ST's NUCLEO-G071RB is: console on USART2 (PA2, PA3: the debugger's serial port), line on
 * USART1 (PA9, PA10), the chip's single wire with its pull-up on PB10 (USART3, half duplex), the button on PC13, low when it is
 * down. Registers are those of ST's reference manual RM0444, pins those of data sheet DS12232. Nobody has run it on silicon yet:
 * docs/porting.md says what to try first. */
#include "board.h"
#include "start.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define NVIC_ENABLE REGISTER(0xE000E100u)

#define RCC_CR REGISTER(0x40021000u)
#define RCC_CFGR REGISTER(0x40021008u)
#define RCC_PLLCFGR REGISTER(0x4002100Cu)
#define RCC_IOPENR REGISTER(0x40021034u)
#define RCC_APBENR1 REGISTER(0x4002103Cu)
#define RCC_APBENR2 REGISTER(0x40021040u)

#define FLASH_ACR REGISTER(0x40022000u)
#define FLASH_KEYR REGISTER(0x40022008u)
#define FLASH_OPTKEYR REGISTER(0x4002200Cu)
#define FLASH_SR REGISTER(0x40022010u)
#define FLASH_CR REGISTER(0x40022014u)
#define FLASH_ECCR REGISTER(0x40022018u)
#define FLASH_OPTR REGISTER(0x40022020u)

enum { CLOCK = 64000000, TICK = CLOCK / 1000 };
enum { PLL_ON = 1 << 24, PLL_READY = 1 << 25, FROM_PLL = 2, FROM = 7 << 3 };  /* RCC_CR, RCC_CFGR */
enum { PLL_FROM_HSI16 = 2, PLL_TIMES_8 = 8 << 8, PLL_R = 1 << 28, PLL_R_BY_2 = 1 << 29 }; /* 16 MHz by 1, times 8, by 2 */
enum { WAIT_2 = 2 << 0, PREFETCH = 1 << 8, CACHE = 1 << 9 };                   /* FLASH_ACR, above 48 MHz */
enum { PORTS = 1 << 0 | 1 << 1 | 1 << 2, USART2_3 = 1 << 17 | 1 << 18, USART1 = 1 << 14 };
enum { IRQ_USART1 = 27, IRQ_USART3 = 29 };
enum { LINE_BAUD = 115200, CHIP_BAUD = 230400, WAKE_BAUD = 115200 };
enum { BOUNCE_MS = 20 };

struct gpio {
    uint32_t mode; /* 2 bits a pin: 0 input, 2 alternate function, 3 as after reset */
    uint32_t type; /* 1 bit a pin: 1 open drain */
    uint32_t speed;
    uint32_t pull;
    uint32_t in;
    uint32_t out;
    uint32_t set;
    uint32_t lock;
    uint32_t function[2]; /* 4 bits a pin */
};

struct usart {
    uint32_t control1;
    uint32_t control2;
    uint32_t control3;
    uint32_t divisor;
    uint32_t unused[3];
    uint32_t status;
    uint32_t clear;
    uint32_t received;
    uint32_t data;
};
enum { ON = 1 << 0, RECEIVER = 1 << 2, TRANSMITTER = 1 << 3, ON_RECEIVED = 1 << 5, BITS_8 = 0, BITS_7 = 1 << 28 }; /* control1 */
enum { HALF_DUPLEX = 1 << 3 };                                                                                     /* control3 */
enum { ERRORS = 0xF, RECEIVED = 1 << 5, SENT = 1 << 6, ROOM = 1 << 7 };                                            /* status */

static volatile struct gpio *gpio_at(unsigned port)
{
    return (volatile struct gpio *)(0x50000000u + port * 0x400u);
}

static volatile struct usart *usart_at(enum board_uart n)
{
    return (volatile struct usart *)(n == BOARD_LINE ? 0x40013800u : n == BOARD_CHIP ? 0x40004800u : 0x40004400u);
}

/* Received bytes between interrupt and main; the console is looked at when asked. */
enum { RING = 128 };
static struct ring {
    volatile uint8_t in, out; /* counts, modulo 256 */
    uint8_t bytes[RING];
} rings[BOARD_CHIP + 1];

const uint8_t board_chip_echo = 1; /* half duplex: the receiver hears the transmitter */

static volatile uint32_t now;
static uint32_t changed; /* when the button was last seen otherwise than down says */
static uint8_t down;

void board_tick(void)
{
    now++;
}

static void fill(unsigned n)
{
    struct ring *ring = &rings[n];
    volatile struct usart *usart = usart_at(n);

    if ((usart->status & RECEIVED) != 0) {
        uint8_t byte = (uint8_t)usart->received;
        if ((uint8_t)(ring->in - ring->out) < RING) {
            ring->bytes[ring->in % RING] = byte;
            ring->in++;
        }
    }
    usart->clear = ERRORS; /* an overrun would interrupt for ever */
}

static void line_interrupt(void)
{
    fill(BOARD_LINE);
}

static void chip_interrupt(void)
{
    fill(BOARD_CHIP);
}

__attribute__((section(".vectors.board"), used)) static void (*const vectors[])(void) = {
    [IRQ_USART1] = line_interrupt, [IRQ_USART3] = chip_interrupt};

static void set_up(enum board_uart n, uint32_t baud, uint32_t bits)
{
    volatile struct usart *usart = usart_at(n);

    usart->control1 = 0;
    usart->control3 = n == BOARD_CHIP ? HALF_DUPLEX : 0;
    usart->divisor = (CLOCK + baud / 2) / baud;
    usart->control1 = bits | TRANSMITTER | RECEIVER | (n == BOARD_CONSOLE ? 0u : ON_RECEIVED) | ON;
}

/* Give a pin to its USART. */
static void connect(unsigned port, unsigned pin, uint32_t function)
{
    volatile struct gpio *gpio = gpio_at(port);
    uint32_t shift = 4 * (pin % 8);

    gpio->function[pin / 8] = (gpio->function[pin / 8] & ~(15u << shift)) | function << shift;
    gpio->mode = (gpio->mode & ~(3u << 2 * pin)) | 2u << 2 * pin;
}

void board_start(void)
{
    FLASH_ACR = WAIT_2 | PREFETCH | CACHE;
    while ((FLASH_ACR & 7) != WAIT_2) {
    }
    RCC_PLLCFGR = PLL_FROM_HSI16 | PLL_TIMES_8 | PLL_R | PLL_R_BY_2;
    RCC_CR |= PLL_ON;
    while ((RCC_CR & PLL_READY) == 0) {
    }
    RCC_CFGR = FROM_PLL;
    while ((RCC_CFGR & FROM) != FROM_PLL << 3) {
    }
    RCC_IOPENR |= PORTS;
    RCC_APBENR1 |= USART2_3;
    RCC_APBENR2 |= USART1;
    connect(0, 2, 1);
    connect(0, 3, 1);
    connect(0, 9, 1);
    connect(0, 10, 1);
    gpio_at(1)->type |= 1u << 10; /* the chip pulls down, too */
    connect(1, 10, 4);
    gpio_at(2)->mode &= ~(3u << 2 * 13);
    set_up(BOARD_LINE, LINE_BAUD, BITS_8);
    set_up(BOARD_CHIP, CHIP_BAUD, BITS_7);
    set_up(BOARD_CONSOLE, LINE_BAUD, BITS_8);
    NVIC_ENABLE = 1u << IRQ_USART1 | 1u << IRQ_USART3;
    SYSTICK_RELOAD = TICK - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7; /* processor's clock, interrupt, on */
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
    volatile struct usart *console = usart_at(BOARD_CONSOLE);

    if (n == BOARD_CONSOLE) {
        console->clear = ERRORS;
        if ((console->status & RECEIVED) == 0) {
            return 0;
        }
        *byte = (uint8_t)console->received;
        return 1;
    }
    struct ring *ring = &rings[n];
    if (ring->in == ring->out) {
        return 0;
    }
    *byte = ring->bytes[ring->out % RING];
    ring->out++;
    return 1;
}

void board_send(enum board_uart n, const uint8_t *bytes, size_t size)
{
    volatile struct usart *usart = usart_at(n);

    for (; size > 0; size--) {
        while ((usart->status & ROOM) == 0) {
        }
        usart->data = *bytes++;
    }
}

void board_wake_chip(void)
{
    static const uint8_t token = 0; /* start bit and 7 bits: 69 us low */

    set_up(BOARD_CHIP, WAKE_BAUD, BITS_7);
    board_send(BOARD_CHIP, &token, 1);
    while ((usart_at(BOARD_CHIP)->status & SENT) == 0) {
    }
    for (uint32_t start = now; now - start < 3;) { /* 2 ms at least */
        board_sleep();
    }
    set_up(BOARD_CHIP, CHIP_BAUD, BITS_7);
}

int board_button(void)
{
    uint8_t seen = (gpio_at(2)->in >> 13 & 1) == 0;

    if (seen == down) {
        changed = now;
    } else if (now - changed >= BOUNCE_MS) {
        down = seen;
    }
    return down;
}

/* Flash (RM0444, 3.3.6 to 3.3.8): pages of 2 KB, programmed by 8 bytes. Meanwhile the core waits, up to 40 ms for an erasure:
 * what the line says then may be lost, and its protocols say it again. */

enum { BUSY = 1 << 16 | 1 << 18, FAULTS = 0x3FA };                                                     /* SR */
enum { PROGRAM = 1 << 0, ERASE = 1 << 1, START = 1 << 16, OPTION_START = 1 << 17 }; /* CR */
#define LOCK (1u << 31)
#define ECC_ERROR (1u << 31)                        /* ECCR: two errors */
enum { ECC_ADDRESS = 0x3FFF, ECC_SYSTEM = 1 << 20 }; /* of 8 bytes; not in main flash */
enum { FLASH_START = 0x08000000, RDP = 0xFF, LEVEL_2 = 0xCC };

static void unlock(void)
{
    if ((FLASH_CR & LOCK) != 0) {
        FLASH_KEYR = 0x45670123u;
        FLASH_KEYR = 0xCDEF89ABu;
    }
    FLASH_SR = FAULTS;
}

static int finish(void)
{
    while ((FLASH_SR & BUSY) != 0) {
    }
    int status = (FLASH_SR & FAULTS) == 0 ? BM_OK : BM_ERR_PORT;
    FLASH_CR = LOCK;
    return status;
}

/* 8 bytes that power left half written have two errors or more, of which the part can correct one (3.3.3). */
void board_nmi(void)
{
    uint32_t torn = FLASH_ECCR;
    uint32_t offset = (torn & ECC_ADDRESS) * BM_FLASH_UNIT - ((uint32_t)(uintptr_t)board_flash - FLASH_START);

    if ((torn & ECC_ERROR) == 0 || (torn & ECC_SYSTEM) != 0 || offset >= BM_FLASH_PAGES * BOARD_PAGE_SIZE) {
        fault();
    }
    FLASH_ECCR = ECC_ERROR;
}

int board_flash_program(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size)
{
    volatile uint32_t *to = (volatile uint32_t *)((uintptr_t)board_flash + page * BOARD_PAGE_SIZE + offset);

    (void)user;
    unlock();
    FLASH_CR = PROGRAM;
    for (; size >= 8; size -= 8, data += 8) {
        for (unsigned i = 0; i < 8; i += 4) {
            *to++ = (uint32_t)data[i] | (uint32_t)data[i + 1] << 8 | (uint32_t)data[i + 2] << 16 | (uint32_t)data[i + 3] << 24;
        }
        while ((FLASH_SR & BUSY) != 0) {
        }
    }
    return finish();
}

int board_flash_erase(void *user, unsigned page)
{
    uint32_t number = ((uint32_t)(uintptr_t)board_flash - FLASH_START) / BOARD_PAGE_SIZE + page;

    (void)user;
    unlock();
    FLASH_CR = ERASE | number << 3;
    FLASH_CR = ERASE | number << 3 | START;
    return finish();
}

/* Read protection of level 2 (RM0444, 3.5.2): no debugger ever again. The part obeys from its next power-up on; what it will obey is
 * read back from the option bytes' register. */
void board_debug_close(void *user)
{
    (void)user;
    if ((FLASH_OPTR & RDP) == LEVEL_2) {
        return;
    }
    unlock();
    FLASH_OPTKEYR = 0x08192A3Bu;
    FLASH_OPTKEYR = 0x4C5D6E7Fu;
    FLASH_OPTR = (FLASH_OPTR & ~(uint32_t)RDP) | LEVEL_2;
    FLASH_CR = OPTION_START;
    int status = finish(); /* debug_closed is asked afterwards */
    (void)status;
}

int board_debug_closed(void *user)
{
    (void)user;
    return (FLASH_OPTR & RDP) == LEVEL_2;
}
