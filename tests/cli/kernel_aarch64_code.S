/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The tiny kernels for AArch64. Each begins at EL1 with the MMU off, so that every access is one to a device; the addresses are
 * those of vmm/aarch64-boot/map.h. PSCI's functions: Arm DEN 0022, 5.9 and 5.10.
 */
#define PSCI_OFF   0x84000008
#define PSCI_RESET 0x84000009
#define UART       0x09000000 /* PL011: its data register */
#define UART_STRIDE 0x10000
#define GPIO       0x09200000 /* PL061 */
#define GPIO_IBE   0x408 /* both edges */
#define GPIO_RIS   0x414 /* seen, masked or not */
#define POWER_KEY  (1 << 3)
#define CONFIG     0x0a000100 /* of the first virtio-mmio device: virtio 1.3, 4.2.2 */
#define NOWHERE    0x20000000 /* neither memory nor a device */
#define FLOOD      0x40000

    .section .rodata.tiny, "a"

    .macro kernel name
    .balign 8
    .globl \name, \name\()_end
\name:
    b 1f
    .long 0
    .quad 0 /* offset from 2 MiB */
    .quad 0x1000 /* room in memory */
    .quad 1 << 1 /* little endian, pages of 4 KiB */
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0
1:
    .endm

    .macro end name
\name\()_end:
    .endm

    .macro set register, value
    movz \register, #(\value) & 0xffff
    movk \register, #(\value) >> 16, lsl #16
    .endm

    .macro psci function
    set w0, \function
    hvc #0
    b .
    .endm

    .macro put character
    mov w2, #\character
    str w2, [x1]
    .endm

    .macro wait_size columns, rows
    set w3, (\rows << 16 | \columns)
1:  ldr w2, [x4]
    cmp w2, w3
    b.ne 1b
    .endm

    kernel tiny_poweroff
    psci PSCI_OFF
    end tiny_poweroff

    kernel tiny_reset
    psci PSCI_RESET
    end tiny_reset

    kernel tiny_loop
    b .
    end tiny_loop

    kernel tiny_hello
    set w1, UART
    put 'h'
    put 'e'
    put 'l'
    put 'l'
    put 'o'
    put '\n'
    psci PSCI_OFF
    end tiny_hello

    kernel tiny_ports
    set w1, UART
    put '1'
    add w1, w1, #UART_STRIDE
    put '2'
    add w1, w1, #UART_STRIDE
    put '3'
    add w1, w1, #UART_STRIDE
    put '4'
    psci PSCI_OFF
    end tiny_ports

    kernel tiny_flood
    set w1, UART
    set w3, FLOOD
1:  put '.'
    subs w3, w3, #1
    b.ne 1b
    psci PSCI_OFF
    end tiny_flood

    kernel tiny_button
    set w1, GPIO
    mov w2, #POWER_KEY
    str w2, [x1, #GPIO_IBE]
1:  ldr w2, [x1, #GPIO_RIS]
    tbz w2, #3, 1b
    psci PSCI_OFF
    end tiny_button

    kernel tiny_write
    set w1, NOWHERE
    str w1, [x1]
    psci PSCI_OFF
    end tiny_write

    kernel tiny_window
    set w1, UART
    set w4, CONFIG
    wait_size 80, 24
    put '1'
    wait_size 100, 50
    psci PSCI_OFF
    end tiny_window
