/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Small guests for vmm doctor. */
#include <vmm/arch/probe.h>

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

enum {
    CODE = 0x1000,
    STACK = 0x8000,
    TABLES = 0x9000, /* PML4, PDPT, PD: the first 2 MiB */
    DATA = 0x4000,
    PORT = 0x80,
    DONE = 0x5a,
    TURNS = 64, /* exits that mean nothing (signals) are tried again */
};

/* mov al, 0x5a; out 0x80, al; hlt: the same bytes in real and long mode. */
static const uint8_t code_out[] = { 0xb0, DONE, 0xe6, PORT, 0xf4 };
/* mov esi, 0x4000; lock cmpxchg16b [rsi]; then as above. */
static const uint8_t code_long[] = { 0xbe, 0x00, 0x40, 0x00, 0x00, 0xf0, 0x48, 0x0f,
                                     0xc7, 0x0e, 0xb0, DONE, 0xe6, PORT, 0xf4 };

static int set_real(struct hv_vcpu *vcpu)
{
    struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rflags = 2 };
    struct kvm_sregs sregs;
    int rc = hv_vcpu_get(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs));

    if (rc)
        return rc;
    sregs.cs.base = sregs.cs.selector = 0;
    rc = hv_vcpu_set(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs));
    return rc ? rc : hv_vcpu_set(vcpu, HV_STATE_REGS, &regs, sizeof(regs));
}

static int set_long(struct hv_vcpu *vcpu, uint8_t *ram)
{
    static const struct kvm_segment flat = {
        .limit = UINT32_MAX, .selector = 0x10, .type = 3, .present = 1, .s = 1, .g = 1, .db = 1
    };
    struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rflags = 2 };
    struct kvm_sregs sregs;
    int rc = hv_vcpu_get(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs));

    if (rc)
        return rc;
    vm_store_le(ram + TABLES, 8, (TABLES + 0x1000) | 3);
    vm_store_le(ram + TABLES + 0x1000, 8, (TABLES + 0x2000) | 3);
    vm_store_le(ram + TABLES + 0x2000, 8, 0x83);
    sregs.ds = sregs.es = sregs.ss = flat;
    sregs.cs = flat;
    sregs.cs.selector = 8;
    sregs.cs.type = 11;
    sregs.cs.db = 0;
    sregs.cs.l = 1;
    sregs.cr0 = 0x80000011;
    sregs.cr3 = TABLES;
    sregs.cr4 = 0x20;
    sregs.efer = 0x500;
    rc = hv_vcpu_set(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs));
    return rc ? rc : hv_vcpu_set(vcpu, HV_STATE_REGS, &regs, sizeof(regs));
}

/* CMPXCHG16B is a feature that a guest must have been given; the rest of the host's leaf 1 does no harm. */
static int set_cpuid(struct hv_vcpu *vcpu)
{
    enum { ROWS = 256 };
    static const size_t size = sizeof(struct kvm_cpuid2) + ROWS * sizeof(struct kvm_cpuid_entry2);
    _Alignas(struct kvm_cpuid2)
        uint8_t room[sizeof(struct kvm_cpuid2) + ROWS * sizeof(struct kvm_cpuid_entry2)] = { 0 };
    struct kvm_cpuid2 *c = (struct kvm_cpuid2 *)room;
    int rc;

    c->nent = ROWS;
    rc = hv_get(vcpu->vm->hv, HV_STATE_SUPPORTED_CPUID, c, size);
    return rc ? rc
              : hv_vcpu_set(vcpu, HV_STATE_CPUID2, c, sizeof(*c) + c->nent * sizeof(c->entries[0]));
}

static int run_to_end(struct hv_vcpu *vcpu)
{
    struct hv_exit e = { 0 };

    for (unsigned i = 0; i < TURNS; i++) {
        int rc = hv_vcpu_run(vcpu, &e);

        if (rc)
            return vm_fail(-EIO, "KVM_RUN fails with error %d", -rc);
        if (e.reason == HV_EXIT_PIO && e.pio.is_write && e.pio.port == PORT &&
            e.pio.data[0] == DONE)
            return 0;
        if (e.reason != HV_EXIT_INTR)
            return vm_fail(-EIO, "the guest ended with '%s' in place of its last instruction",
                           hv_exit_name(e.reason));
    }
    return vm_fail(-EIO, "the guest does not come to its end");
}

int varch_probe_run(struct hv_vcpu *vcpu, enum varch_probe which, void *ram, size_t bytes)
{
    bool hardware = which == VARCH_PROBE_HARDWARE;
    int rc;

    memset(ram, 0, bytes);
    if (hardware)
        memcpy((uint8_t *)ram + CODE, code_long, sizeof(code_long));
    else
        memcpy((uint8_t *)ram + CODE, code_out, sizeof(code_out));
    rc = set_cpuid(vcpu);
    if (!rc)
        rc = hardware ? set_long(vcpu, ram) : set_real(vcpu);
    return rc ? rc : run_to_end(vcpu);
}

const char *varch_probe_missing(struct hv *hv)
{
    static const struct {
        uint32_t cap;
        const char *text;
    } needs[] = {
        { KVM_CAP_USER_MEMORY, "memory slots are missing" },
        { KVM_CAP_IRQCHIP, "the interrupt controller in the kernel is missing" },
        { KVM_CAP_SPLIT_IRQCHIP,
          "split interrupt controllers are missing (add --irqchip kernel to run)" },
        { KVM_CAP_IOEVENTFD, "ioeventfd is missing" },
        { KVM_CAP_IRQFD, "irqfd is missing" },
        { KVM_CAP_SIGNAL_MSI, "KVM_SIGNAL_MSI is missing" },
        { KVM_CAP_IMMEDIATE_EXIT, "immediate exit is missing" },
        { KVM_CAP_EXT_CPUID, "CPUID tables are missing" },
    };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(needs); i++)
        if (!hv_cap(hv, needs[i].cap))
            return needs[i].text;
    return NULL;
}
