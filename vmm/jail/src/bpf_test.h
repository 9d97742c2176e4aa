/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Runs a filter's program as the kernel would, for either architecture (Documentation/networking/filter.rst), and counts. */
#ifndef VMM_JAIL_BPF_TEST_H
#define VMM_JAIL_BPF_TEST_H

#include <linux/seccomp.h>
#include <string.h>

#include <vmm/jail/filter.h>

struct bpf_result {
    uint32_t action;
    unsigned instructions;
    bool broken; /* the program ran out of its end, or has an instruction that filters do not use */
};

static inline struct bpf_result bpf_run(const struct vmm_jail_program *program,
                                        const struct seccomp_data *data)
{
    struct bpf_result result = { .broken = true };
    uint32_t a = 0;

    for (size_t pc = 0; pc < program->count; pc++) {
        const struct sock_filter *i = &program->insn[pc];

        result.instructions++;
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (i->k % 4 || i->k > sizeof(*data) - 4)
                return result;
            memcpy(&a, (const char *)data + i->k, sizeof(a));
            break;
        case BPF_ALU | BPF_AND | BPF_K: a &= i->k; break;
        case BPF_JMP | BPF_JA: pc += i->k; break;
        case BPF_JMP | BPF_JEQ | BPF_K: pc += a == i->k ? i->jt : i->jf; break;
        case BPF_JMP | BPF_JGE | BPF_K: pc += a >= i->k ? i->jt : i->jf; break;
        case BPF_RET | BPF_K:
            result.action = i->k;
            result.broken = false;
            return result;
        default: return result;
        }
    }
    return result;
}

#endif
