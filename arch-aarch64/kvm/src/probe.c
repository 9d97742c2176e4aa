/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Small guests for vmm doctor. */
#include <vmm/arch/probe.h>

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

enum {
    CODE = 0x1000,
    OUT = 0x1000000, /* no memory is there */
    DONE = 0x5a,
    TURNS = 64, /* exits that mean nothing (signals) are tried again */
};

/* mov x1, #0x1000000; mov w2, #0x5a; strb w2, [x1]; b . */
static const uint32_t code_out[] = { 0xd2a02001, 0x52800b42, 0x39000022, 0x14000000 };
/* Vector registers, which no emulator of KVM's knows: mov x0, #0x300000; msr cpacr_el1, x0; isb; movi v0.16b, #0x5a;
 * umov w2, v0.b[3]; then as above. */
static const uint32_t code_vector[] = { 0xd2a00600, 0xd5181040, 0xd5033fdf, 0x4f02e740,
                                        0x0e073c02, 0xd2a02001, 0x39000022, 0x14000000 };

static int set_up(struct hv_vcpu *vcpu)
{
    static const __u64 pc_at =
        KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.pc);
    struct kvm_vcpu_init init;
    uint64_t pc = CODE;
    int rc = hv_vm_get(vcpu->vm, HV_STATE_PREFERRED_TARGET, &init, sizeof(init));

    if (!rc)
        rc = hv_vcpu_set(vcpu, HV_STATE_VCPU_INIT, &init, sizeof(init));
    return rc ? rc : hv_vcpu_set_reg(vcpu, pc_at, &pc);
}

static int run_to_end(struct hv_vcpu *vcpu)
{
    struct hv_exit e = { 0 };

    for (unsigned i = 0; i < TURNS; i++) {
        int rc = hv_vcpu_run(vcpu, &e);

        if (rc)
            return vm_fail(-EIO, "KVM_RUN fails with error %d", -rc);
        if (e.reason == HV_EXIT_MMIO && e.mmio.is_write && e.mmio.addr == OUT &&
            e.mmio.data[0] == DONE)
            return 0;
        if (e.reason != HV_EXIT_INTR)
            return vm_fail(-EIO, "the guest ended with '%s' in place of its last instruction",
                           hv_exit_name(e.reason));
    }
    return vm_fail(-EIO, "the guest does not come to its end");
}

int varch_probe_run(struct hv_vcpu *vcpu, enum varch_probe which, void *ram, size_t bytes)
{
    int rc;

    memset(ram, 0, bytes);
    if (which == VARCH_PROBE_HARDWARE)
        memcpy((uint8_t *)ram + CODE, code_vector, sizeof(code_vector));
    else
        memcpy((uint8_t *)ram + CODE, code_out, sizeof(code_out));
    rc = set_up(vcpu);
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
        { KVM_CAP_DEVICE_CTRL, "devices in the kernel (VGIC) are missing" },
        { KVM_CAP_ARM_PSCI_0_2, "PSCI is missing" },
        { KVM_CAP_IOEVENTFD, "ioeventfd is missing" },
        { KVM_CAP_IRQFD, "irqfd is missing" },
        { KVM_CAP_ONE_REG, "access to registers is missing" },
        { KVM_CAP_IMMEDIATE_EXIT, "immediate exit is missing" },
    };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(needs); i++)
        if (!hv_cap(hv, needs[i].cap))
            return needs[i].text;
    return NULL;
}
