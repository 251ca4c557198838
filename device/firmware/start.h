/* What start.c knows. */
#ifndef START_H
#define START_H

/* Bytes of stack that have been in use since reset, interrupts included. */
unsigned stack_used(void);
/* A defect or an attack: the unit begins anew and has lost nothing that counts. Does not return. */
void fault(void);

#endif
