/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Entry and exception vectors of the machine guest: a raw Image (Linux Documentation/arch/arm64/booting.rst) that is linked
 * to where vmm puts it. It begins at EL1 with the MMU off and the device tree's address in x0, and goes on with the first
 * 64 GiB mapped one to one: RAM as normal memory, which unaligned accesses and other CPUs' caches need, and the rest as a
 * device's. The table is part of the file, so that nothing is written before there are caches.
 */
    .section .head, "ax"
    .globl _start
_start:
    b start
    .long 0
    .quad 0                 /* offset from 2 MiB */
    .quad image_size
    .quad 1 << 1            /* little endian, pages of 4 KiB */
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0

    .text
    .macro mmu_on
    ldr x1, =0xff04         /* MAIR: 0 device-nGnRE, 1 normal, write-back */
    msr mair_el1, x1
    ldr x1, =0x10080351c    /* TCR: 36 bits of input and output, 4 KiB, walks cached and shared, no TTBR1 */
    msr tcr_el1, x1
    adr x1, table
    msr ttbr0_el1, x1
    adr x1, vectors
    msr vbar_el1, x1
    dsb sy
    tlbi vmalle1
    ic iallu
    dsb sy
    isb
    ldr x1, =0x30d01805     /* SCTLR: RES1, I, C, M */
    msr sctlr_el1, x1
    isb
    .endm

start:
    mmu_on
    ldr x1, =bss_start
    ldr x2, =bss_end
1:  cmp x1, x2
    b.hs 2f
    str xzr, [x1], #8
    b 1b
2:  ldr x1, =stack_top
    mov sp, x1
    mov x29, xzr
    mov x30, xzr
    bl guest_main
3:  wfi
    b 3b

/* Where PSCI's CPU_ON leads: x0 is the top of the stack. */
    .globl secondary_start
secondary_start:
    mmu_on
    mov sp, x0
    mov x29, xzr
    mov x30, xzr
    bl guest_secondary
    b 3b

exception:
    mrs x1, esr_el1
    mrs x2, elr_el1
    mrs x3, far_el1
    ldr x4, =stack_top      /* the old one may be why */
    mov sp, x4
    bl guest_exception
    b 3b

    .balign 0x800
vectors:
    n = 0
    .rept 16
    .balign 0x80
    mov x0, #n
    b exception
    n = n + 1
    .endr

    .section .rodata
    .balign 512
table:
    n = 0
    .rept 64
    .if n == 1
    .quad n << 30 | 0x705   /* block, attribute 1, inner shareable, accessed: RAM */
    .else
    .quad n << 30 | 3 << 53 | 0x401 /* block, attribute 0, accessed, never executed */
    .endif
    n = n + 1
    .endr

    .bss
    .balign 16
    .space 16384
stack_top:
    .section .note.GNU-stack, "", @progbits
