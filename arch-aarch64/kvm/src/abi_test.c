/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of what vmm abi tells, on the hosts that are made up. */
#include "arm_test.h"

#define ID_AA64PFR0 ARM64_SYS_REG(3, 0, 0, 4, 0)

static struct {
    struct varch_reference what;
    struct gm_region *ram;
    struct gm_space *space;
    struct gm_view view;
    struct vm_report report;
} t;

static uint64_t now(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 0;
}

/* A machine on the n-th reference host. */
static void open_on(unsigned n)
{
    const struct gm_backing anonymous = { .kind = GM_ANONYMOUS };
    struct gm_change change = { .add = &t.ram, .add_count = 1 };
    const struct hv_vm_config config = { 0 };

    k.env = (struct vm_env){ .random = kt_random, .now_ns = now };
    k.config = (struct varch_config){ .cpus = 2, .ram_bytes = 64 << 20, .segments = 2 };
    WORKS(varch_reference_new(&k.env, n, &k.hv, &t.what));
    WORKS(hv_vm_new(k.hv, &config, &k.vm));
    WORKS(gm_region_new(VBOOT_ARM_RAM_BASE, 64 << 20, &anonymous, &t.ram));
    WORKS(gm_space_new(&k.env, &t.space));
    WORKS(gm_space_change(t.space, &change));
    gm_view_init(&t.view, t.space, NULL);
}

static void close_all(void)
{
    gm_view_exit(&t.view);
    gm_space_free(t.space);
    gm_region_unref(t.ram);
    vm_report_free(&t.report);
    kt_close();
}

static bool told(const char *row)
{
    cr_assert_eq(t.report.code, 0);
    cr_assert_eq(vm_buffer_add(&t.report.text, "", 1), 0);
    t.report.text.len--;
    return strstr((const char *)t.report.text.data, row);
}
#define TOLD(row) cr_assert(told(row), "no row '%s' in:\n%s", row, (char *)t.report.text.data)

TestSuite(abi, .fini = close_all);

Test(abi, a_host_with_every_feature_gives_all_and_keeps_its_id_registers)
{
    open_on(0);
    WORKS(kt_build());

    WORKS(varch_abi_vcpu(k.arch, k.cpu[0], &t.report));

    TOLD("  features: 0x7c psci-0.2 pmu-v3 sve ptrauth-address ptrauth-generic\n");
    TOLD("  PMU's INTID: 0x17\n  stolen time: 0xb000000\n");
    TOLD("  ID_AA64PFR0_EL1: ffffffffffffffff\n");
    TOLD("  S3_0_C0_C7_7: ffffffffffffffff\n");
    TOLD("  CTR_EL0: ffffffffffffffff\n");
}

Test(abi, a_host_with_no_feature_gives_none_and_nothing_is_added)
{
    open_on(1);
    WORKS(kt_build());

    WORKS(varch_abi_vcpu(k.arch, k.cpu[1], &t.report));

    TOLD("  features: 0x5 power-off psci-0.2\n");
    TOLD("  MPIDR_EL1: 0000000080000001\n");
    TOLD("  ID_AA64PFR0_EL1: 0000000000000000\n");
    cr_assert(!told("PMU") && !told("stolen"));
}

Test(abi, a_register_that_was_set_is_told_with_its_name_or_number)
{
    uint64_t value = 0x11;

    open_on(0);
    WORKS(kt_build());
    WORKS(hv_vcpu_set_reg(k.cpu[0], ID_AA64PFR0, &value));
    WORKS(hv_vcpu_set_reg(k.cpu[0], ARM64_SYS_REG(3, 0, 1, 0, 1), &value));
    WORKS(hv_vcpu_set_reg(k.cpu[0], ARM64_SYS_REG(3, 1, 0, 0, 1), &value));
    WORKS(hv_vcpu_set_reg(k.cpu[0], ARM64_SYS_REG(3, 3, 14, 3, 2), &value));

    WORKS(varch_abi_vcpu(k.arch, k.cpu[0], &t.report));

    TOLD("  ID_AA64PFR0_EL1: 0000000000000011\n");
    TOLD("  CLIDR_EL1: 0000000000000011\n");
    TOLD("  S3_0_C1_C0_1: 0000000000000011\n");
    cr_assert(!told("C14"), "timers move");
}

Test(abi, boot_tells_controller_registers_command_line_and_tree)
{
    const struct varch_payload payload = { .cmdline = "a b" };

    open_on(0);
    WORKS(kt_build());

    WORKS(varch_abi_boot(k.arch, &t.view, k.cpu[0], &payload, &t.report));

    TOLD("interrupt controller\n  type: GICv3, messages by ITS\n  INTIDs: 0x140\n");
    TOLD("  ITS of segment 1: 0x80a0000\n");
    TOLD("boot\n  command line: \"a b\"\n  pc: 0x40200000\n  pstate: 0x3c5\n  x0: 0x40000000\n");
    TOLD("  /chosen bootargs: \"a b\"\n");
    TOLD("  /memory@40000000 reg: 0 0x40000000 0 0x4000000\n");
}

Test(abi, a_gicv2_is_told_as_one)
{
    const struct varch_payload payload = { .cmdline = "" };

    open_on(0);
    k.config.irqchip = VARCH_IRQCHIP_GICV2;
    WORKS(kt_build());

    WORKS(varch_abi_boot(k.arch, &t.view, k.cpu[0], &payload, &t.report));

    TOLD("  type: GICv2, messages by GICv2m\n  INTIDs: 0x340\n  distributor: 0x8000000\n"
         "  CPU interface: 0x8010000\n");
}

Test(abi, what_the_hypervisor_refuses_is_told)
{
    open_on(0);
    WORKS(kt_build());
    hv_fake_fail(k.hv, HV_FAKE_VCPU_GET, 0, -EIO);

    cr_assert_eq(varch_abi_vcpu(k.arch, k.cpu[1], &t.report), -EIO);
    cr_assert_str_eq(vm_error_text(), "vCPU 1: the fake was told to fail");
}

Test(abi, there_are_two_hosts)
{
    struct varch_reference what;
    struct hv *hv;

    open_on(1);
    cr_assert_eq(t.what.like, 0);

    cr_assert_eq(varch_reference_new(&k.env, 2, &hv, &what), -ENOENT);
}
