/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A VM on the real /dev/kvm for one test, and the machine code that runs in it (guest.S). */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdint.h>

#include <vmm/base/env.h>
#include <vmm/hypervisor/hypervisor.h>

enum {
    PAYLOAD_AT = 0x1000, /* where the code goes */
    RESULT = 0x2000, /* where it leaves what it read */
    GDT_AT = 0x3000,
    IDT_AT = 0x4000,
    TABLES_AT = 0x6000, /* page tables, three pages */
    STACK_AT = 0xf000,
    HANDLERS_AT = 0x10000, /* handler of vector v at HANDLERS_AT + v * 0x100 */
    LOW_BYTES = 0x80000, /* slot 0: what lies above is no memory */
    HIGH_AT = 0x100000, /* slot 1, if asked for */
    DONE = 0xf4, /* the port that ends a guest */
    TOLD = 0x521, /* the port where interrupt handlers tell their vector */
};

enum payload_mode { REAL_MODE, PROTECTED_MODE, LONG_MODE };

struct payload_config {
    enum payload_mode mode;
    bool kernel_irqchip, split_irqchip; /* split: 24 pins of ours */
    bool log_dirty; /* slots 0 and 1 */
    uint32_t dirty_ring; /* entries */
    uint32_t high_pages; /* pages of slot 1 at HIGH_AT */
    uint64_t manual_protect; /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2's argument */
    uint64_t user_msrs; /* KVM_CAP_X86_USER_SPACE_MSR's */
};

struct payload {
    struct vm_env env;
    struct hv *hv;
    struct hv_vm *vm;
    struct hv_vcpu *vcpu;
    uint8_t *low, *high; /* the bytes of slots 0 and 1 */
    size_t high_bytes;
    struct hv_exit exit;
};

/* Makes the VM; skips the test with the reason where there is no /dev/kvm. */
void payload_new(struct payload *p, const struct payload_config *config);
void payload_free(struct payload *p);

/* Copies code to PAYLOAD_AT, or to gpa. */
#define payload_load(p, name) payload_copy(p, PAYLOAD_AT, payload_##name, payload_##name##_end)
#define payload_load_handler(p, vector, name) \
    payload_copy(p, HANDLERS_AT + (vector)*0x100, payload_##name, payload_##name##_end)
void payload_copy(struct payload *p, uint32_t gpa, const uint8_t *from, const uint8_t *end);

/* Runs to the next exit; a failure of the call fails the test. */
enum hv_exit_reason payload_run(struct payload *p);
/* Runs, answering nothing, to the write to port; fails the test at any exit but such writes and
 * HV_EXIT_INTR. The byte written. */
uint8_t payload_run_to(struct payload *p, uint16_t port);
/* The exit is this access; value is what was written, little endian. */
bool payload_is_out(const struct payload *p, uint16_t port, unsigned size, uint32_t value);
bool payload_is_in(const struct payload *p, uint16_t port, unsigned size);
bool payload_is_mmio_write(const struct payload *p, uint64_t addr, unsigned len, uint64_t value);
bool payload_is_mmio_read(const struct payload *p, uint64_t addr, unsigned len);

#define PAYLOAD(name) extern const uint8_t payload_##name[], payload_##name##_end[]
PAYLOAD(pio);
PAYLOAD(pio_string);
PAYLOAD(mmio);
PAYLOAD(mmio64);
PAYLOAD(rom);
PAYLOAD(dirty);
PAYLOAD(dirty_many);
PAYLOAD(msr);
PAYLOAD(doorbells);
PAYLOAD(spin);
PAYLOAD(hlt);
PAYLOAD(nops);
PAYLOAD(triple);
PAYLOAD(pic);
PAYLOAD(apic);
PAYLOAD(apic_irq40);
PAYLOAD(apic_irq41);
#undef PAYLOAD

#endif
