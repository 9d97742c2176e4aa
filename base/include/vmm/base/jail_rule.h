/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Jail rules: which system calls a piece of code needs, said beside that code (a device class, a back end, an I/O engine).
 * They are data only; library jail puts the tables of a process together and makes its seccomp filter of them.
 *
 * A table ends with { 0 }. Several rows of one call are alternatives. A call that has another name on another architecture
 * (epoll_wait and epoll_pwait) is listed in all its spellings: what an architecture does not have is skipped there.
 */
#ifndef VMM_BASE_JAIL_RULE_H
#define VMM_BASE_JAIL_RULE_H

#include <stdint.h>

/* (argument & mask) == value. mask 0: no check. The kernel compares raw 64-bit registers: where it reads an argument as int
 * (the request of an ioctl, the family of a socket), the upper half is not to be looked at. */
struct vm_jail_check {
    uint64_t mask, value;
    uint8_t argument; /* 0 to 5 */
    const char *name; /* of the value, for people; may be NULL */
};

/* A check of an argument that the kernel reads as 32 bits, one of 64 bits, and one of some bits. */
#define VM_JAIL_IS(arg, v)                                              \
    {                                                                   \
        .mask = 0xffffffff, .value = (v), .argument = (arg), .name = #v \
    }
#define VM_JAIL_IS_64(arg, v)                                           \
    {                                                                   \
        .mask = UINT64_MAX, .value = (v), .argument = (arg), .name = #v \
    }
#define VM_JAIL_BITS(arg, m, v)                                            \
    {                                                                      \
        .mask = (m), .value = (v), .argument = (arg), .name = #m " is " #v \
    }

struct vm_jail_rule {
    const char *syscall; /* name; the table ends with NULL */
    struct vm_jail_check check[2]; /* all must hold */
    uint16_t error; /* 0: allowed; else the call is refused with it, and the process goes on */
};

/* Rows: VM_JAIL("read"), VM_JAIL("ioctl", VM_JAIL_IS(1, KVM_RUN)), VM_JAIL_ERRNO("clone3", ENOSYS). */
#define VM_JAIL(name, ...)                          \
    {                                               \
        .syscall = (name), .check = { __VA_ARGS__ } \
    }
#define VM_JAIL_ERRNO(name, code)          \
    {                                      \
        .syscall = (name), .error = (code) \
    }

#endif
