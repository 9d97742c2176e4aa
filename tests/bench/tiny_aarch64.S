/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The smallest kernels for AArch64 there are, for measuring a VMM and not its guest. An Image (Linux
 * Documentation/arm64/booting.rst), linked by run.sh with the symbol KIND set to one of
 *
 *     0  ends at once (COUNT and AT mean nothing)
 *     1  COUNT writes of 32 bits to address AT, then ends
 *     2  COUNT bytes to the PL011 at AT as a polling driver does: FR until there is room, DR
 *     3  COUNT bytes in bursts of 16: FR until the FIFO is empty, then 16 times DR
 *
 * Entered with the MMU off, so that every access is one to device memory. The end is PSCI's SYSTEM_OFF
 * (DEN0022, 5.10) by HVC. PL011 registers: DDI0183, 3.2.
 */
.equ UARTDR, 0x00
.equ UARTFR, 0x18
.equ UARTLCR_H, 0x2c
.equ UARTCR, 0x30
.equ FR_TXFF_BIT, 5
.equ FR_TXFE_BIT, 7
.equ LCR_H_8BIT_FIFO, 0x70
.equ CR_UARTEN_TXE, 0x101
.equ PSCI_SYSTEM_OFF, 0x84000008

.macro load register, value
    movz \register, #((\value) & 0xffff)
    movk \register, #((\value) >> 16), lsl #16
.endm

.macro send_slowly
1:  ldr w3, [x1, #UARTFR]
    tbnz w3, #FR_TXFF_BIT, 1b
    str w2, [x1, #UARTDR]
.endm

.macro send_burst
1:  ldr w3, [x1, #UARTFR]
    tbz w3, #FR_TXFE_BIT, 1b
    .rept 16
    str w2, [x1, #UARTDR]
    .endr
.endm

    .text
    .globl _start
_start:
    b begin
    .long 0
    .quad 0                 /* text_offset */
    .quad _end - _start     /* image_size */
    .quad 0xa               /* flags: little-endian, 4 KiB pages, anywhere */
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0

begin:
    load w1, AT
    load w0, COUNT
    mov w2, #'.'
.if KIND >= 2
    mov w3, #LCR_H_8BIT_FIFO
    str w3, [x1, #UARTLCR_H]
    mov w3, #CR_UARTEN_TXE
    str w3, [x1, #UARTCR]
.endif
again:
.if KIND == 1
    str w2, [x1]
.elseif KIND == 2
    send_slowly
.elseif KIND == 3
    send_burst
    sub w0, w0, #15
.endif
.if KIND
    subs w0, w0, #1
    b.ne again
.endif
    load w0, PSCI_SYSTEM_OFF
    hvc #0
    b .
_end:
