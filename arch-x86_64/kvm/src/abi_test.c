/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of what vmm abi tells, on the hosts that are made up. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/arch/abi.h>
#include <vmm/base/error.h>
#include <vmm/hypervisor/fake.h>

#include "x86.h"

#define WORKS(call) cr_assert_eq((call), 0, "%s", vm_error_text())

static struct {
    struct vm_env env;
    struct hv *hv;
    struct hv_vm *vm;
    struct varch_config config;
    struct varch *arch;
    struct hv_vcpu *cpu[2];
    struct gm_region *low;
    struct gm_space *space;
    struct gm_view view;
    struct vm_report report;
} k;

static uint64_t now(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 0;
}

static void open_memory(void)
{
    const struct gm_backing anonymous = { .kind = GM_ANONYMOUS };
    struct gm_change change = { .add = &k.low, .add_count = 1 };

    WORKS(gm_region_new(0, 64 << 20, &anonymous, &k.low));
    WORKS(gm_space_new(&k.env, &k.space));
    WORKS(gm_space_change(k.space, &change));
    gm_view_init(&k.view, k.space, NULL);
}

/* A machine on the n-th reference host. */
static void open_on(unsigned n)
{
    const struct hv_vm_config config = { 0 };
    struct varch_reference what;

    k.env = (struct vm_env){ .now_ns = now };
    k.config =
        (struct varch_config){ .cpus = 2, .ram_bytes = 64 << 20, .segments = 1, .acpi = true };
    WORKS(varch_reference_new(&k.env, n, &k.hv, &what));
    WORKS(hv_vm_new(k.hv, &config, &k.vm));
    WORKS(varch_new(&k.env, k.vm, &k.config, &k.arch));
    WORKS(varch_irqchip_new(k.arch));
    for (unsigned i = 0; i < 2; i++) {
        WORKS(hv_vcpu_new(k.vm, i, &k.cpu[i]));
        WORKS(varch_vcpu_init(k.arch, k.cpu[i]));
    }
    open_memory();
}

static void close_all(void)
{
    gm_view_exit(&k.view);
    gm_space_free(k.space);
    gm_region_unref(k.low);
    varch_free(k.arch);
    hv_vcpu_free(k.cpu[0]);
    hv_vcpu_free(k.cpu[1]);
    hv_vm_free(k.vm);
    hv_free(k.hv);
    vm_report_free(&k.report);
}

static bool told(const char *row)
{
    const char *text;

    cr_assert_eq(k.report.code, 0);
    cr_assert_eq(vm_buffer_add(&k.report.text, "", 1), 0);
    k.report.text.len--;
    text = (const char *)k.report.text.data;
    return strstr(text, row);
}
#define TOLD(row) cr_assert(told(row), "no row '%s' in:\n%s", row, (char *)k.report.text.data)

TestSuite(abi, .fini = close_all);

Test(abi, a_host_with_every_feature_loses_none)
{
    open_on(0);

    WORKS(varch_abi_vcpu(k.arch, k.cpu[0], &k.report));

    TOLD("  cpuid 0x00000001: 000806f0 00020800 ffffffff ffffffff\n");
    TOLD("  cpuid 0x00000007.0: 00000002 ffffffff ffffffff ffffffff\n");
    TOLD("  cpuid 0x80000008: 0000302e ffffffff 00000000 00000000\n");
}

Test(abi, a_host_with_no_feature_gets_what_every_guest_has)
{
    open_on(1);

    WORKS(varch_abi_vcpu(k.arch, k.cpu[1], &k.report));

    TOLD("  cpuid 0x00000001: 000806f0 01020800 80000000 10000000\n");
    TOLD("  cpuid 0x00000007.0: 00000002 00000000 00000000 00000000\n");
}

Test(abi, amds_leaves_are_told_of_amds_host)
{
    open_on(2);

    WORKS(varch_abi_vcpu(k.arch, k.cpu[1], &k.report));

    TOLD("  cpuid 0x80000008: 00003030 ffffffff 00001001 00010007\n");
    TOLD("  cpuid 0x8000001e: 00000001 00000001 00000000 00000000\n");
}

Test(abi, msrs_and_the_local_apic_are_as_they_were_set)
{
    open_on(0);

    WORKS(varch_abi_vcpu(k.arch, k.cpu[0], &k.report));

    TOLD("  msr 0x000001a0: 0x1\n");
    TOLD("  msr 0x000002ff: 0x806\n");
    TOLD("  lapic 0x350: 0x10000\n");
    TOLD("  lapic 0x360: 0x400\n");
}

Test(abi, each_protocol_has_its_registers_its_memory_map_and_the_command_line)
{
    const struct varch_payload payload = { .cmdline = "a=\"b\"" };
    const char *pvh;

    open_on(0);

    WORKS(varch_abi_boot(k.arch, &k.view, k.cpu[0], &payload, &k.report));

    TOLD("boot, 32-bit protocol\n  rip: 0x1000000\n");
    TOLD("boot, 64-bit protocol\n");
    TOLD("  mapped 0: + 0x40000000 at 0, flags 0x83, pages of 0x200000\n");
    TOLD("  e820 0x000000100000: + 0x3f00000 RAM (1)\n");
    TOLD("  command line: \"a=\\x22b\\x22\"\n");
    pvh = strstr((char *)k.report.text.data, "boot, PVH\n");
    cr_assert(pvh && strstr(pvh, "  memory map 0x000000100000: + 0x3f00000 RAM (1)\n"));
    cr_assert(strstr(pvh, "  rbx: 0x6000\n") && !strstr(pvh, "mapped"));
}

Test(abi, the_reset_vector_is_told_as_it_is_in_memory)
{
    const struct varch_payload payload = { .cmdline = "" };

    open_on(0);

    WORKS(varch_abi_boot(k.arch, &k.view, k.cpu[0], &payload, &k.report));

    TOLD("reset vector\n  0000: ba 02 06 b0 01 ee f4 eb fd 00");
}

Test(abi, a_command_line_that_is_too_long_is_refused_as_by_a_start)
{
    static char line[0x10001];
    const struct varch_payload payload = { .cmdline = line };

    memset(line, 'x', sizeof(line) - 1);
    open_on(0);

    cr_assert_eq(varch_abi_boot(k.arch, &k.view, k.cpu[0], &payload, &k.report), -EINVAL);
    cr_assert(strstr(vm_error_text(), "kernel command line"), "%s", vm_error_text());
}

Test(abi, what_the_hypervisor_refuses_is_told)
{
    open_on(0);
    hv_fake_fail(k.hv, HV_FAKE_VCPU_GET, 1, -EIO);

    cr_assert_eq(varch_abi_vcpu(k.arch, k.cpu[1], &k.report), -EIO);
    cr_assert_str_eq(vm_error_text(), "vCPU 1: the fake was told to fail");
}

Test(abi, there_are_four_hosts_and_the_poor_ones_name_the_rich)
{
    static const unsigned like[] = { 0, 0, 2, 2 };
    struct varch_reference what;
    struct hv *hv;

    open_on(0);
    for (unsigned i = 0; i < 4; i++) {
        WORKS(varch_reference_new(&k.env, i, &hv, &what));
        cr_assert_eq(what.like, like[i]);
        hv_free(hv);
    }

    cr_assert_eq(varch_reference_new(&k.env, 4, &hv, &what), -ENOENT);
}
