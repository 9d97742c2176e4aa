/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Entry, interrupt stubs and the wait for an interrupt of the machine guest. It begins in 64-bit
 * mode with a pointer to struct boot_params in rsi (Linux's 64-bit boot protocol).
 *
 * Nothing here returns from an interrupt by iret, which KVM's emulator knows in real mode only:
 * interrupts are on inside irq_sleep() alone, and the stub goes back to who called that.
 */
    .section .text.start, "ax"
    .globl _start
_start:
    cli
    cld
    movq $stack_top, %rsp
    xorl %ebp, %ebp
    movq %rsi, %rdi
    call guest_main
1:  hlt
    jmp 1b

    .text
/* uint32_t irq_sleep(void): waits for an interrupt, gives its vector. */
    .globl irq_sleep
irq_sleep:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, irq_stack(%rip)
    sti
1:  hlt
    jmp 1b

irq_common:
    popq %rax
    cmpl $32, %eax
    jb 2f
    movq irq_stack(%rip), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
2:  movl %eax, %edi
    movq %rsp, %rsi
    andq $-16, %rsp
    call guest_exception

/* Stub of vector v: at irq_stubs + 16 * v. */
    .globl irq_stubs
    .balign 16
irq_stubs:
    vector = 0
    .rept 256
    .balign 16
    pushq $vector
    jmp irq_common
    vector = vector + 1
    .endr

    .bss
    .balign 16
irq_stack:
    .quad 0
    .balign 16
    .space 16384
stack_top:
    .section .note.GNU-stack, "", @progbits
