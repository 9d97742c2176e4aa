/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The guests of the payload tests: small pieces of machine code that a test copies to PAYLOAD_AT
 * (arch.h) of its VM's memory. They lie in the test program as bytes; nothing here runs on the
 * host. Only relative jumps and absolute constants are used, so that they need no linking.
 *
 * Ends by writing to port DONE. RESULT is where they leave what they read.
 */
#define DONE   $0xf4
#define RESULT 0x2000

.macro PAYLOAD name
    .globl payload_\name
payload_\name:
.endm
.macro END name
    .globl payload_\name\()_end
payload_\name\()_end:
.endm

    .section .rodata
    .code16

/* Port writes and reads of each width. */
PAYLOAD pio
    movw $0x510, %dx
    movl $0x44332211, %eax
    outb %al, %dx
    outw %ax, %dx
    outl %eax, %dx
    xorl %eax, %eax
    inb %dx, %al
    movb %al, RESULT
    inw %dx, %ax
    movw %ax, RESULT + 2
    inl %dx, %eax
    movl %eax, RESULT + 4
    outb %al, DONE
END pio

/* rep outsb of 6 bytes from RESULT, then rep insw of 3 words to RESULT + 16. */
PAYLOAD pio_string
    cld
    movw $0x510, %dx
    movw $RESULT, %si
    movw $6, %cx
    rep outsb
    movw $RESULT + 16, %di
    movw $3, %cx
    rep insw
    outb %al, DONE
END pio_string

/* Memory accesses of 1, 2 and 4 bytes at 0xa0000, where there is no slot. */
PAYLOAD mmio
    movw $0xa000, %ax
    movw %ax, %es
    movl $0x44332211, %eax
    movb %al, %es:0x10
    movw %ax, %es:0x20
    movl %eax, %es:0x40
    movb %es:0x11, %al
    movb %al, RESULT
    movw %es:0x22, %ax
    movw %ax, RESULT + 2
    movl %es:0x44, %eax
    movl %eax, RESULT + 4
    outb %al, DONE
END mmio

/* Reads a word at 0x90000, writes it, reads it again. */
PAYLOAD rom
    movw $0x9000, %ax
    movw %ax, %es
    movw %es:0, %ax
    movw %ax, RESULT
    movw $0xbeef, %es:0
    movw %es:0, %ax
    movw %ax, RESULT + 2
    outb %al, DONE
END rom

/* Writes to pages 5 and 9, then DONE, for ever. */
PAYLOAD dirty
1:  movb $1, 0x5000
    movb $1, 0x9123
    outb %al, DONE
    jmp 1b
END dirty

/* rdmsr of ecx's register into RESULT, then wrmsr of 0x1122334455667788. */
PAYLOAD msr
    rdmsr
    movl %eax, RESULT
    movl %edx, RESULT + 4
    movl $0x55667788, %eax
    movl $0x11223344, %edx
    wrmsr
    outb %al, DONE
END msr

/* Writes 1, 2, 3 to port 0x520, then one byte to 0xa0010. */
PAYLOAD doorbells
    movw $0x520, %dx
    movb $1, %al
    outb %al, %dx
    movb $2, %al
    outb %al, %dx
    movb $3, %al
    outb %al, %dx
    movw $0xa000, %ax
    movw %ax, %es
    movw $7, %es:0x10
    movw $8, %es:0x10
    movl $7, %es:0x10
    outb %al, DONE
END doorbells

/* Ten times: says the number of the turn and waits for the other CPU to come to it, too. Which one it is: ecx, 0 or 1. */
PAYLOAD meet
    movw %cx, %bx
    shlw $3, %bx
    movw %bx, %si
    xorw $8, %si
    xorw %ax, %ax
1:  incw %ax
    movw %ax, RESULT(%bx)
2:  cmpw %ax, RESULT(%si)
    jb 2b
    cmpw $10, %ax
    jne 1b
    outb %al, DONE
END meet

/* Tells ecx. */
PAYLOAD tell
    movb %cl, %al
    movw $0x521, %dx
    outb %al, %dx
    outb %al, DONE
END tell

PAYLOAD spin
1:  jmp 1b
END spin

PAYLOAD hlt
    hlt
    outb %al, DONE
END hlt

PAYLOAD nops
    nop
    nop
    nop
    outb %al, DONE
END nops

/* Sets the two PICs up with vectors 0x20 and 0x28, input 5 as level, and waits for interrupts 0x24
 * (edge) and 0x25 (level); each writes its vector to port 0x521 and ends its interrupt. */
PAYLOAD pic
    cli
    xorw %ax, %ax
    movw %ax, 0x24 * 4 + 2
    movw %ax, 0x25 * 4 + 2
    call 1f
1:  popw %bx
    leaw (pic_edge - 1b)(%bx), %ax
    movw %ax, 0x24 * 4
    leaw (pic_level - 1b)(%bx), %ax
    movw %ax, 0x25 * 4
    movb $0x11, %al
    outb %al, $0x20
    movb $0x20, %al
    outb %al, $0x21
    movb $0x04, %al
    outb %al, $0x21
    movb $0x01, %al
    outb %al, $0x21
    movb $0xcf, %al
    outb %al, $0x21
    movb $0x20, %al
    movw $0x4d0, %dx
    outb %al, %dx
    outb %al, $0xf4
2:  sti
    hlt
    jmp 2b
pic_edge:
    movb $0x24, %al
    jmp 3f
pic_level:
    movb $0x25, %al
3:  movw $0x521, %dx
    outb %al, %dx
    movb $0x20, %al
    outb %al, $0x20
    movb $0, %al
    outb %al, $0xf4
    iretw
END pic

    .code32

/* An undefined instruction with an empty interrupt table: triple fault. */
PAYLOAD triple
    lidtl RESULT
    ud2
END triple

/* Dirties ecx pages from 1 MiB on, one byte each, with a write to port 0x510 behind every 16th,
 * then DONE. KVM looks for a full ring only when it enters the guest, and software KVM emulates
 * more pages between two entries than the ring keeps in reserve: without the port writes the ring
 * would overflow there. */
PAYLOAD dirty_many
    movl $0x100000, %edi
    movw $0x510, %dx
1:  movb $1, (%edi)
    addl $0x1000, %edi
    testl $0xf000, %edi
    jnz 2f
    outb %al, %dx
2:  decl %ecx
    jnz 1b
    outb %al, DONE
END dirty_many

/* Enables the local APIC and waits; the interrupt handler (apic_irq, its own payload) tells. */
PAYLOAD apic
    movl $0x1ff, 0xfee000f0
    outb %al, DONE
1:  sti
    hlt
    jmp 1b
END apic

/* A vector's handler: tells it by port 0x521, ends the interrupt, and waits for the next one from a
 * fresh stack. (KVM's emulator, which is all that software KVM has, knows iret in real mode only.)
 * */
PAYLOAD apic_irq40
    movl $0xf000, %esp
    movb $0x40, %al
    movw $0x521, %dx
    outb %al, %dx
    movl $0, 0xfee000b0
    outb %al, DONE
1:  sti
    hlt
    jmp 1b
END apic_irq40
PAYLOAD apic_irq41
    movl $0xf000, %esp
    movb $0x41, %al
    movw $0x521, %dx
    outb %al, %dx
    movl $0, 0xfee000b0
    outb %al, DONE
1:  sti
    hlt
    jmp 1b
END apic_irq41

    .code64

/* 8-byte accesses at 0xa0000. */
PAYLOAD mmio64
    movl $0xa0000, %ebx
    movabsq $0x8877665544332211, %rax
    movq %rax, (%rbx)
    movq 8(%rbx), %rax
    movq %rax, RESULT
    outb %al, DONE
END mmio64

    .section .note.GNU-stack, "", @progbits
