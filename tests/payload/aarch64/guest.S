/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The guests of the payload tests: small pieces of machine code that a test copies into its VM's memory, mostly to
 * PAYLOAD_AT (layout.h). They lie in the test program as bytes; nothing here runs on the host. Only relative jumps and
 * absolute constants are used, so that they need no linking. Their argument is in x0, and what they read first, too.
 *
 * Ends by writing to DONE. RESULT is where they leave what they read. x16 and x17 are the macros'.
 */
#include "layout.h"

    .arch armv8.3-a+sve

.macro PAYLOAD name
    .balign 4
    .globl payload_\name
payload_\name:
.endm
.macro END name
    .globl payload_\name\()_end
payload_\name\()_end:
.endm
.macro LOAD reg, value
    movz \reg, #((\value) & 0xffff)
    movk \reg, #((\value) >> 16 & 0xffff), lsl #16
.endm
.macro TELL where, reg
    LOAD x16, \where
    str \reg, [x16]
.endm
.macro END_PROGRAM
    TELL DONE, wzr
.endm

    .section .rodata

/* Accesses of 1, 2 and 4 bytes where there is no slot. */
PAYLOAD mmio
    LOAD x1, MMIO_AT
    LOAD x2, 0x44332211
    strb w2, [x1, #0x10]
    strh w2, [x1, #0x20]
    str w2, [x1, #0x40]
    ldrb w0, [x1, #0x11]
    ldrh w2, [x1, #0x22]
    ldr w3, [x1, #0x44]
    LOAD x4, RESULT
    strb w0, [x4]
    strh w2, [x4, #2]
    str w3, [x4, #4]
    END_PROGRAM
END mmio

PAYLOAD mmio64
    LOAD x1, MMIO_AT
    LOAD x2, 0x44332211
    movk x2, #0x6655, lsl #32
    movk x2, #0x8877, lsl #48
    str x2, [x1]
    ldr x0, [x1, #8]
    LOAD x4, RESULT
    str x0, [x4]
    END_PROGRAM
END mmio64

/* Reads a word at ROM_AT, writes it, reads it again. */
PAYLOAD rom
    LOAD x1, ROM_AT
    LOAD x4, RESULT
    mov w2, #0xbeef
    ldrh w0, [x1]
    strh w0, [x4]
    strh w2, [x1]
    ldrh w0, [x1]
    strh w0, [x4, #2]
    END_PROGRAM
END rom

/* Writes to pages 5 and 9, then DONE, for ever. */
PAYLOAD dirty
    mov w2, #1
1:  LOAD x1, 0x5000
    strb w2, [x1]
    LOAD x1, 0x9123
    strb w2, [x1]
    END_PROGRAM
    b 1b
END dirty

/* Dirties x0 pages from HIGH_AT on, one byte each, with a word to SIDE behind every 16th, then DONE. */
PAYLOAD dirty_many
    LOAD x1, HIGH_AT
    mov w2, #1
1:  strb w2, [x1]
    add x1, x1, #0x1000
    tst x1, #0xf000
    b.ne 2f
    TELL SIDE, w2
2:  subs x0, x0, #1
    b.ne 1b
    END_PROGRAM
END dirty_many

/* Writes 1, 2, 3 to BELL, a byte each; then words and a double word to MMIO_AT + 0x10. */
PAYLOAD doorbells
    LOAD x1, BELL
    mov w2, #1
    strb w2, [x1]
    mov w2, #2
    strb w2, [x1]
    mov w2, #3
    strb w2, [x1]
    LOAD x1, MMIO_AT + 0x10
    mov w2, #7
    mov w3, #8
    strh w2, [x1]
    strh w3, [x1]
    str w2, [x1]
    END_PROGRAM
END doorbells

PAYLOAD spin
1:  b 1b
END spin

PAYLOAD nops
    nop
    nop
    nop
    END_PROGRAM
END nops

/* Ten times: says the number of the turn and waits for the other CPU to come to it, too. Which one it is: x0, 0 or 1. */
PAYLOAD meet
    LOAD x1, RESULT
    add x2, x1, x0, lsl #3
    eor x3, x0, #1
    add x3, x1, x3, lsl #3
    mov w4, #0
1:  add w4, w4, #1
    stlr w4, [x2]
2:  ldar w5, [x3]
    cmp w5, w4
    b.lo 2b
    cmp w4, #10
    b.ne 1b
    END_PROGRAM
END meet

/* Tells x0; also where a CPU is turned on, whose memory is not mapped. */
PAYLOAD tell
    TELL TOLD, w0
    END_PROGRAM
END tell

/* The exception vectors (DDI 0487, D1.4.1), to VECTORS_AT: of the current level with its own stack. An interrupt is told
 * behind its acknowledgement, its cause turned off where the CPU is that, and DONE written behind its end. */
PAYLOAD vectors
    .skip 0x200
    mrs x10, esr_el1
    TELL TRAPPED, w10
    b .
    .skip payload_vectors + 0x280 - .
    mrs x10, icc_iar1_el1
    dsb sy
    TELL TOLD, w10
    msr cntv_ctl_el0, xzr
    msr cntp_ctl_el0, xzr
    cmp w10, #INTID_PMU
    b.ne 1f
    mov x11, #0x80000000
    msr pmintenclr_el1, x11
    msr pmovsclr_el0, x11
1:  isb
    msr icc_eoir1_el1, x10
    isb
    END_PROGRAM
    eret
    .skip payload_vectors + 0x380 - .
    TELL ERRORED, wzr
    b .
END vectors

/* Makes the stores of a list at x0: address, value and width (4 or 8), 8 bytes each, up to one without width. Then turns
 * the GIC's CPU interface on, writes to DONE and waits for interrupts. */
PAYLOAD gic
1:  ldp x1, x2, [x0], #16
    ldr x3, [x0], #8
    cbz x3, 3f
    cmp x3, #8
    b.eq 2f
    str w2, [x1]
    b 1b
2:  str x2, [x1]
    b 1b
3:  mov x1, #7
    msr icc_sre_el1, x1     /* system registers, no bypass */
    isb
    mov x1, #0xff
    msr icc_pmr_el1, x1
    mov x1, #1
    msr icc_igrpen1_el1, x1
    isb
    END_PROGRAM
    msr daifclr, #2
4:  wfi
    b 4b
END gic

PAYLOAD wait
    msr daifclr, #2
1:  wfi
    b 1b
END wait

/* Calls the firmware with x0 to x3, for ever. */
PAYLOAD smccc
1:  hvc #0
    LOAD x16, RESULT
    str x0, [x16]
    END_PROGRAM
    b 1b
END smccc

/* Leaves x0, sp, v0 and TPIDR_EL1 at RESULT and changes them. */
PAYLOAD state
    LOAD x16, RESULT
    mov x1, sp
    mrs x2, tpidr_el1
    str x0, [x16]
    str x1, [x16, #8]
    str q0, [x16, #16]
    str x2, [x16, #32]
    add x0, x0, #1
    add x1, x1, #0x20
    mov sp, x1
    movi v0.16b, #0x77
    add x2, x2, #3
    msr tpidr_el1, x2
    END_PROGRAM
END state

/* The virtual counter to RESULT. */
PAYLOAD counter
    isb
    mrs x0, cntvct_el0
    LOAD x1, RESULT
    str x0, [x1]
    END_PROGRAM
END counter

/* Waits for a timer that is due soon. */
PAYLOAD timer_virt
    isb
    mrs x1, cntvct_el0
    add x1, x1, #100
    msr cntv_cval_el0, x1
    mov x1, #1
    msr cntv_ctl_el0, x1
    msr daifclr, #2
1:  wfi
    b 1b
END timer_virt

PAYLOAD timer_phys
    isb
    mrs x1, cntpct_el0
    add x1, x1, #100
    msr cntp_cval_el0, x1
    mov x1, #1
    msr cntp_ctl_el0, x1
    msr daifclr, #2
1:  wfi
    b 1b
END timer_phys

/* Sends the software interrupt x0 is ICC_SGI1R_EL1 of. */
PAYLOAD sgi
    msr icc_sgi1r_el1, x0
    isb
    END_PROGRAM
END sgi

/* A store with write-back: the syndrome does not say what it does (DDI 0487, D19.2.37, ISV). */
PAYLOAD unclear
    LOAD x1, MMIO_AT
    str w0, [x1], #4
    END_PROGRAM
END unclear

PAYLOAD brk
    brk #7
    END_PROGRAM
END brk

/* Stores a word to RESULT + 8. */
PAYLOAD store
    LOAD x1, RESULT
    str w1, [x1, #8]
    nop
    END_PROGRAM
END store

/* Lets the cycle counter overflow from x0 on, and interrupt. */
PAYLOAD cycles
    mov x1, #0x80000000
    msr pmcntenset_el0, x1
    msr pmintenset_el1, x1
    msr pmccfiltr_el0, xzr
    msr pmccntr_el0, x0
    mov x1, #0x41           /* on, 64 bits */
    msr pmcr_el0, x1
    isb
    msr daifclr, #2
1:  b 1b
END cycles

/* Tells the length of an SVE register in bytes. */
PAYLOAD sve
    cntb x0
    TELL TOLD, w0
    END_PROGRAM
END sve

/* Signs x0 with key A; the upper half, with the signature, is told. */
PAYLOAD pauth
    paciza x0
    lsr x0, x0, #32
    TELL TOLD, w0
    END_PROGRAM
END pauth

    .section .note.GNU-stack, "", @progbits
