/* From reset to main on an ARMv6-M core (ARM DDI 0419, B1.5): what every board has in common. */
#include "board.h"
#include "start.h"

int main(void);
void reset(void);

/* From sections.ld. */
extern uint32_t bss_start[], bss_end[], paint_end[], stack_top[];

enum { PAINT = 0x5AA55AA5 };

void reset(void)
{
    for (uint32_t *word = bss_start; word < bss_end; word++) {
        *word = 0;
    }
    for (uint32_t *word = bss_end; word < paint_end; word++) {
        *word = PAINT;
    }
    (void)main();
    for (;;) {
    }
}

unsigned stack_used(void)
{
    const uint32_t *word = bss_end;

    while (*word == PAINT) {
        word++;
    }
    return (unsigned)(stack_top - word) * 4;
}

void fault(void)
{
    *(volatile uint32_t *)0xE000ED0Cu = 0x05FA0004u; /* AIRCR: SYSRESETREQ (B3.2.6) */
    for (;;) {
    }
}

/* A board's own interrupts follow, in .vectors.board. */
__attribute__((section(".vectors.core"), used)) static const struct {
    const uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {stack_top, {reset, board_nmi, fault, [10] = fault, [13] = fault, [14] = board_tick}};

/* What gcc asks of a C library. */
__attribute__((used)) void *memset(void *area, int value, size_t size);
void *memset(void *area, int value, size_t size)
{
    for (uint8_t *byte = area; size > 0; size--) {
        *byte++ = (uint8_t)value;
    }
    return area;
}
