/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A VM on the real /dev/kvm for one test, and the machine code that runs in it. What differs by architecture is in its
 * folder: arch.h (layout, modes, the programs and what they tell), arch.c (registers, interrupt controllers), guest.S (the
 * programs), and tests of what only one has. A program tells the test something by a write to a place of its own: a port on
 * x86, an address without memory on Arm.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <pthread.h>
#include <stdint.h>

#include <vmm/base/env.h>
#include <vmm/hypervisor/hypervisor.h>

#include "arch.h"

enum { PAYLOAD_CPUS = 2, PAYLOAD_DEVICES = 2 };

struct payload_config {
    enum payload_mode mode;
    unsigned cpus; /* 0: one */
    bool log_dirty; /* slots 0 and 1 */
    uint32_t dirty_ring; /* entries */
    uint32_t high_pages; /* pages of slot 1 at HIGH_AT */
    uint64_t manual_protect; /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2's argument */
    struct payload_arch_config arch;
};

struct payload {
    struct vm_env env;
    struct hv *hv;
    struct hv_vm *vm;
    struct hv_vcpu *vcpu; /* the first one */
    struct hv_vcpu *cpu[PAYLOAD_CPUS];
    struct hv_device *device[PAYLOAD_DEVICES]; /* in the kernel, as arch.h numbers them */
    uint8_t *low, *high; /* the bytes of slots 0 and 1 */
    size_t high_bytes;
    struct hv_exit exit;
};

/* Makes the VM; skips the test with the reason where there is no /dev/kvm. */
void payload_new(struct payload *p, const struct payload_config *config);
void payload_free(struct payload *p);

/* Copies code to PAYLOAD_AT, or to gpa. */
#define payload_load(p, name)         payload_load_at(p, PAYLOAD_AT, name)
#define payload_load_at(p, gpa, name) payload_copy(p, gpa, payload_##name, payload_##name##_end)
void payload_copy(struct payload *p, uint32_t gpa, const uint8_t *from, const uint8_t *end);

/* Runs to the next exit; a failure of the call fails the test. */
enum hv_exit_reason payload_run(struct payload *p);
enum hv_exit_reason payload_run_cpu(struct hv_vcpu *vcpu, struct hv_exit *ret_exit);
/* Runs, answering nothing, until the program tells something at where; fails the test at any exit but this and
 * HV_EXIT_INTR. What was told. */
uint32_t payload_run_to(struct payload *p, uint32_t where);
uint32_t payload_run_cpu_to(struct hv_vcpu *vcpu, uint32_t where);
/* Completes the last exit, which KVM leaves half done. */
void payload_settle(struct hv_vcpu *vcpu);
/* The exit is this access; value is what was written, little endian. */
bool payload_is_told(const struct payload *p, uint32_t where, uint32_t value);
bool payload_is_mmio_write(const struct payload *p, uint64_t addr, unsigned len, uint64_t value);
bool payload_is_mmio_read(const struct payload *p, uint64_t addr, unsigned len);

/* Brings a vCPU that thread runs, or is about to, out of its guest: payload_run_cpu() there gives HV_EXIT_INTR, however the
 * kick and the entry meet. */
void payload_kick(pthread_t thread, struct hv_vcpu *vcpu);
/* Another thread that does it to the calling one. */
struct payload_kick {
    pthread_t target, thread;
    struct hv_vcpu *vcpu;
};
void payload_kick_start(struct payload_kick *kick, struct hv_vcpu *vcpu);
void payload_kick_end(struct payload_kick *kick);

/* --- of each architecture --- */

void payload_arch_vm(struct payload *p, const struct payload_config *config,
                     struct hv_vm_config *ret_config);
/* Capabilities, before there is memory; then interrupt controllers and vCPUs, these with payload_cpu_new(). */
void payload_arch_enable(struct payload *p, const struct payload_config *config);
void payload_arch_cpus(struct payload *p, const struct payload_config *config);
void payload_cpu_new(struct payload *p, unsigned n);
void payload_must(int rc, const char *what);
void payload_enable(struct payload *p, uint32_t cap, uint64_t value);

/* Whether the exit is a program that tells something at where. */
bool payload_told(const struct hv_exit *exit, uint32_t where, uint32_t *ret_value);
/* The register that a program takes its argument from, and the one its first answer comes in. */
void payload_set_argument(struct hv_vcpu *vcpu, uint64_t value);
uint64_t payload_answer(struct hv_vcpu *vcpu);
/* Where the program stopped, of a HV_EXIT_DEBUG. */
uint64_t payload_debug_pc(const struct payload *p);
/* The capabilities that this project needs there. */
extern const uint32_t payload_needed[];
extern const unsigned payload_needed_count;

/* A guest that waits for the interrupts EDGE_GSI and LEVEL_GSI, whose routes name pins. It tells EDGE_TOLD or LEVEL_TOLD at
 * TOLD, ends the interrupt and writes to DONE. */
void payload_pin_guest(struct payload *p);
/* The pin of EDGE_GSI as hv_vm_irq_line() wants it. */
uint32_t payload_edge_line(void);
/* A guest that waits for messages 0 and 1, and does the same: MESSAGE_TOLD + which. */
void payload_message_guest(struct payload *p);
struct hv_msi payload_message(unsigned which);
/* One to no CPU. */
struct hv_msi payload_message_astray(void);

#endif
