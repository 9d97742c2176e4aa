/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the map, the platform and the boot, as a machine sees them. */
#include "arm_test.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <libfdt.h>

#include <vmm/base/fd.h>
#include <vmm/base/le.h>

static void refused(const char *text)
{
    struct varch *arch = NULL;

    cr_expect_eq(varch_new(&k.env, k.vm, &k.config, &arch), -EINVAL, "no '%s'", text);
    cr_expect(strstr(vm_error_text(), text), "%s", vm_error_text());
}

Test(arm, address_bits_are_40_or_what_the_host_has)
{
    static const struct {
        int host;
        uint64_t ram;
        uint32_t bits;
    } rows[] = {
        { 0, 1 << 30, 0 }, /* KVM's own default */
        { 48, 1 << 30, 40 },    { 36, 1 << 30, 36 },          { 48, 1ULL << 39, 48 },
        { 42, 1ULL << 39, 42 }, { 48, (1ULL << 39) - 1, 40 },
    };
    struct hv_vm_config config;

    kt_open();
    for (size_t i = 0; i < VM_ARRAY_SIZE(rows); i++) {
        WORKS(hv_fake_set_cap(k.hv, KVM_CAP_ARM_VM_IPA_SIZE, rows[i].host));
        k.config.ram_bytes = rows[i].ram;
        varch_vm_config(k.hv, &k.config, &config);
        cr_expect_eq(config.ipa_bits, rows[i].bits, "%zu: %u", i, config.ipa_bits);
    }
    kt_close();
}

Test(arm, the_memory_bus_ends_with_the_address_bits_and_there_are_no_ports)
{
    kt_open();
    WORKS(hv_fake_set_cap(k.hv, KVM_CAP_ARM_VM_IPA_SIZE, 36));
    k.config.ram_bytes = 64 << 20;
    kt_arch();

    cr_assert_eq(varch_mmio_limit(k.arch), (1ULL << 36) - 1);
    cr_assert_eq(varch_pio_limit(k.arch), 0);
    kt_close();
}

Test(arm, what_only_a_pc_has_is_refused)
{
    bool *const options[] = { &k.config.acpi, &k.config.cam, &k.config.i8042, &k.config.debug_ports,
                              &k.config.pit };

    kt_open();
    for (size_t i = 0; i < VM_ARRAY_SIZE(options); i++) {
        *options[i] = true;
        refused("is for x86_64 machines: leave it out");
        *options[i] = false;
    }
    kt_close();
}

Test(arm, more_than_there_is_room_for_is_refused_with_the_limit)
{
    kt_open();
    k.config.serials = 5;
    refused("5 serial ports: there is room for 4");
    k.config.serials = 4;
    k.config.mmio_slots = 257;
    refused("257 virtio-mmio devices: there is room for 256");
    k.config.mmio_slots = 256;
    k.config.ram_bytes = 1 << 20;
    refused("");
    kt_close();
}

Test(arm, memory_is_one_piece_and_stolen_time_lies_beside_it)
{
    struct varch_range range[2];

    kt_open();
    kt_arch();
    cr_assert_eq(varch_ram(k.arch, range, 2), 1);
    cr_assert(range[0].base == 0x40000000 && range[0].size == 64 << 20);
    cr_assert_eq(varch_ram(k.arch, range, 0), 0);
    cr_assert_eq(varch_extra(k.arch, range, 2), 0);
    varch_free(k.arch);
    kt_cap(KVM_CAP_STEAL_TIME);
    kt_arch();

    cr_assert_eq(varch_extra(k.arch, range, 2), 1);
    cr_assert(range[0].base == 0x0b000000 && range[0].size == 0x10000);
    cr_assert_eq(varch_extra(k.arch, range, 0), 0);
    kt_close();
}

Test(arm, platform_devices_stand_where_the_map_says)
{
    struct varch_device rows[VARCH_DEVICES_MAX];
    static const struct {
        const char *cls, *id;
        uint64_t base;
        uint32_t irq;
    } want[] = { { "pl011", "serial0", 0x09000000, 0 },
                 { "pl011", "serial1", 0x09010000, 1 },
                 { "pl031", "rtc", 0x09100000, 4 },
                 { "pl061", "gpio", 0x09200000, 5 } };

    kt_open();
    k.config.serials = 2;
    kt_arch();

    cr_assert_eq(varch_devices(k.arch, rows), VM_ARRAY_SIZE(want));
    for (size_t i = 0; i < VM_ARRAY_SIZE(want); i++) {
        cr_expect_str_eq(rows[i].cls, want[i].cls);
        cr_expect_str_eq(rows[i].id, want[i].id);
        cr_expect_eq(rows[i].resource[0].type, VDEV_RES_MMIO);
        cr_expect_eq(rows[i].resource[0].base, want[i].base);
        cr_expect_eq(rows[i].resource[0].size, 0x1000);
        cr_expect(rows[i].irqs == 1 && rows[i].irq[0] == want[i].irq && rows[i].irq_level[0]);
        cr_expect(!rows[i].irqchip);
    }
    kt_close();
}

Test(arm, a_machine_may_do_without_clock_and_serial_port)
{
    struct varch_device rows[VARCH_DEVICES_MAX];

    kt_open();
    k.config.serials = 0;
    k.config.rtc = false;
    kt_arch();

    cr_assert_eq(varch_devices(k.arch, rows), 1);
    cr_assert_str_eq(rows[0].cls, "pl061");
    kt_close();
}

Test(arm, with_a_gicv2_the_frame_of_messages_is_a_device)
{
    struct varch_device rows[VARCH_DEVICES_MAX];
    unsigned n;

    kt_open();
    k.config.irqchip = VARCH_IRQCHIP_GICV2;
    kt_arch();

    n = varch_devices(k.arch, rows);

    cr_assert_str_eq(rows[n - 1].cls, "gicv2m");
    cr_assert_eq(rows[n - 1].resource[0].base, 0x08020000);
    cr_assert(rows[n - 1].resource[1].base == 320 && rows[n - 1].resource[1].size == 512);
    cr_assert_eq(rows[n - 1].irqs, 0);
    kt_close();
}

Test(arm, virtio_mmio_windows_and_wires_follow_each_other)
{
    struct varch_range range;
    uint32_t irq;

    kt_open();
    kt_arch();
    varch_mmio_slot(k.arch, 3, &range, &irq);

    cr_assert_eq(range.base, 0x0a003000);
    cr_assert_eq(range.size, 0x1000);
    cr_assert_eq(irq, 19);
    cr_assert_eq(varch_irqs(k.arch), 288);
    cr_assert_eq(varch_irq_code(k.arch, irq), 1U << 24 | 51);
    kt_close();
}

Test(arm, segments_have_windows_and_only_the_first_has_32_bits_and_pins)
{
    struct varch_pci_segment s0, s1;

    kt_open();
    k.config.segments = 2;
    k.config.pci_intx = true;
    kt_arch();
    varch_pci(k.arch, 0, &s0);
    varch_pci(k.arch, 1, &s1);

    cr_assert_eq(s0.ecam.base, 0x80000000); /* RAM's end rounded up to 1 GiB */
    cr_assert_eq(s1.ecam.base, 0x90000000);
    cr_assert(s0.mem32.base == 0x10000000 && !s1.mem32.size);
    cr_assert(s0.mem64.size && s1.mem64.base >= s0.mem64.base + s0.mem64.size);
    cr_assert(s0.intx[0] == 8 && s0.intx[3] == 11);
    cr_assert_eq(s1.intx[0], UINT32_MAX);
    cr_assert(!s0.cam);
    kt_close();
}

Test(arm, pins_are_wired_only_if_somebody_asks_or_there_are_no_messages)
{
    struct varch_pci_segment s;

    kt_open();
    kt_arch();
    varch_pci(k.arch, 0, &s);

    cr_assert_eq(s.intx[0], UINT32_MAX);
    kt_close();
}

Test(arm, an_access_without_syndrome_comes_to_us_where_kvm_can)
{
    uint64_t args[4];

    kt_open();
    kt_arch();
    cr_assert(!hv_fake_enabled(k.vm, KVM_CAP_ARM_NISV_TO_USER, args));
    varch_free(k.arch);
    kt_cap(KVM_CAP_ARM_NISV_TO_USER);
    kt_arch();

    cr_assert(hv_fake_enabled(k.vm, KVM_CAP_ARM_NISV_TO_USER, args));
    kt_close();
}

Test(arm, the_controller_comes_last_and_takes_wires_itself)
{
    kt_open();
    kt_arch();

    cr_assert(varch_irqchip_last(k.arch));
    cr_assert(varch_irqchip_in_kernel(k.arch));
    kt_close();
}

Test(arm, a_plan_has_the_newest_of_everything)
{
    struct varch_range range;

    kt_open();
    hv_vm_free(k.vm);
    k.vm = NULL;
    WORKS(varch_new(&k.env, NULL, &k.config, &k.arch));

    cr_assert(k.arch->gic == VBOOT_ARM_GIC_V3 && k.arch->msi && k.arch->pmu);
    cr_assert_eq(varch_extra(k.arch, &range, 1), 1);
    cr_assert_eq(varch_msi_send(k.arch, &(struct vdev_msi){ .addr = 0 }), -ENODEV);
    kt_close();
}

/* --- the device tree --- */

static uint64_t cells(const void *blob, const char *path, const char *name, int first, int count)
{
    int len, node = fdt_path_offset(blob, path);
    const uint8_t *p = node < 0 ? NULL : fdt_getprop(blob, node, name, &len);
    uint64_t value = 0;

    cr_assert(p && len >= 4 * (first + count), "%s/%s", path, name);
    for (int i = 4 * first; i < 4 * (first + count); i++)
        value = value << 8 | p[i];
    return value;
}

static bool there(const void *blob, const char *path, const char *name)
{
    int node = fdt_path_offset(blob, path);

    return node >= 0 && fdt_getprop(blob, node, name, NULL);
}

Test(tree, processors_have_the_numbers_that_kvm_gave_them)
{
    const struct varch_payload payload = { .cmdline = "quiet" };
    uint64_t mpidr = 1ULL << 31 | 0x200000103;
    struct vm_buffer blob = { 0 };

    kt_open();
    WORKS(kt_build());
    WORKS(hv_vcpu_set_reg(k.cpu[1], 0x603000000013c005, &mpidr)); /* MPIDR_EL1: 3, 0, 0, 0, 5 */

    WORKS(varch_dtb(k.arch, &payload, &blob));

    cr_assert_eq(cells(blob.data, "/cpus/cpu@0", "reg", 0, 2), 0);
    cr_assert_eq(cells(blob.data, "/cpus/cpu@200000103", "reg", 0, 2), 0x200000103);
    vm_buffer_free(&blob);
    kt_close();
}

Test(tree, processors_of_a_plan_have_the_numbers_that_kvm_would_give_them)
{
    const struct varch_payload payload = { .cmdline = "quiet" };
    struct vm_buffer blob = { 0 };

    kt_open();
    k.config.cpus = 18;
    WORKS(varch_new(&k.env, NULL, &k.config, &k.arch));

    WORKS(varch_dtb(k.arch, &payload, &blob));

    cr_assert_eq(cells(blob.data, "/cpus/cpu@101", "reg", 0, 1), 0x101);
    vm_buffer_free(&blob);
    kt_close();
}

Test(tree, a_number_that_cannot_be_read_is_an_error)
{
    const struct varch_payload payload = { .cmdline = "quiet" };
    struct vm_buffer blob = { 0 };

    kt_open();
    WORKS(kt_build());
    hv_fake_fail(k.hv, HV_FAKE_VCPU_GET, 1, -EIO);

    cr_assert_eq(varch_dtb(k.arch, &payload, &blob), -EIO);
    cr_assert_null(blob.data);
    kt_close();
}

Test(tree, it_tells_what_this_vm_has)
{
    const struct varch_payload payload = { .cmdline = "a=b" };
    struct vm_buffer blob = { 0 };

    kt_open();
    WORKS(kt_build());
    WORKS(varch_dtb(k.arch, &payload, &blob));

    cr_assert_eq(cells(blob.data, "/memory@40000000", "reg", 0, 4) & UINT64_MAX, 64 << 20);
    cr_assert(!there(blob.data, "/pmu", "compatible"));
    cr_assert(!there(blob.data, "/chosen", "rng-seed"));
    cr_assert_str_eq(
        fdt_getprop(blob.data, fdt_path_offset(blob.data, "/chosen"), "bootargs", NULL), "a=b");
    vm_buffer_free(&blob);
    varch_free(k.arch);
    kt_cap(KVM_CAP_ARM_PMU_V3);
    kt_arch();
    WORKS(varch_dtb(k.arch, &payload, &blob));
    cr_assert(there(blob.data, "/pmu", "compatible"));
    vm_buffer_free(&blob);
    kt_close();
}

Test(tree, there_is_no_acpi)
{
    struct vacpi_image image;

    kt_open();
    kt_arch();

    cr_assert_eq(varch_acpi(k.arch, &(struct varch_payload){ 0 }, &image), -ENOTSUP);
    cr_assert(strstr(vm_error_text(), "device tree"), "%s", vm_error_text());
    kt_close();
}

static int file_of(const void *data, size_t len)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    cr_assert(fd >= 0);
    WORKS(vm_pwrite_full(fd, data, len, 0));
    return fd;
}

/* An overlay with one fragment: /chosen gets added = "x". */
static size_t make_overlay(char *blob, int room, const char *target)
{
    int node;

    WORKS(fdt_create_empty_tree(blob, room));
    node = fdt_add_subnode(blob, 0, "fragment@0");
    WORKS(fdt_setprop_string(blob, node, "target-path", target));
    node = fdt_add_subnode(blob, node, "__overlay__");
    WORKS(fdt_setprop_string(blob, node, "added", "x"));
    WORKS(fdt_pack(blob));
    return fdt_totalsize(blob);
}

Test(tree, the_users_overlay_lies_on_top)
{
    struct varch_payload payload = { .cmdline = "quiet" };
    struct vm_buffer blob = { 0 };
    char bytes[1024];

    kt_open();
    kt_arch();
    payload.overlay =
        (struct varch_image){ "o.dtbo", file_of(bytes, make_overlay(bytes, 1024, "/chosen")) };

    WORKS(varch_dtb(k.arch, &payload, &blob));

    cr_assert(there(blob.data, "/chosen", "added"));
    vm_buffer_free(&blob);
    close(payload.overlay.fd);
    kt_close();
}

Test(tree, an_overlay_that_cannot_be_applied_is_named_and_leaves_no_tree)
{
    struct varch_payload payload = { .cmdline = "quiet" };
    struct vm_buffer blob = { 0 };
    char bytes[1024];
    size_t len = make_overlay(bytes, 1024, "/nowhere");
    int fds[4] = { file_of(bytes, len), file_of(bytes, len / 2), file_of("", 0),
                   memfd_create("large", MFD_CLOEXEC) };

    kt_open();
    kt_arch();
    cr_assert(!ftruncate(fds[3], (2 << 20) + 1));
    for (size_t i = 0; i < VM_ARRAY_SIZE(fds); i++) {
        payload.overlay = (struct varch_image){ "o.dtbo", fds[i] };
        cr_expect_lt(varch_dtb(k.arch, &payload, &blob), 0, "%zu", i);
        cr_expect(!strncmp(vm_error_text(), "o.dtbo", 6), "%s", vm_error_text());
        cr_expect(i < 3 || strstr(vm_error_text(), "2097153 bytes: overlays have at most 65536"),
                  "%s", vm_error_text());
        cr_expect_null(blob.data);
        close(fds[i]);
    }
    kt_close();
}

/* --- loading --- */

enum { RAM_BYTES = 64 << 20, DTB = 0x40000000, KERNEL = 0x40200000 };

struct loaded {
    struct gm_space *space;
    struct gm_view view;
    struct varch_payload payload;
};

/* An Image of one page (Linux Documentation/arm64/booting.rst, 4), an initrd of 100 bytes. */
static void load_open(struct loaded *l)
{
    const struct gm_backing anonymous = { .kind = GM_ANONYMOUS };
    uint8_t image[4096] = { 0 }, initrd[100] = "initrd";
    struct gm_region *ram;
    struct gm_change change = { .add = &ram, .add_count = 1 };

    kt_open();
    WORKS(kt_build());
    WORKS(gm_region_new(DTB, RAM_BYTES, &anonymous, &ram));
    WORKS(gm_space_new(&k.env, &l->space));
    WORKS(gm_space_change(l->space, &change));
    gm_region_unref(ram);
    gm_view_init(&l->view, l->space, NULL);
    vm_store_le(image + 16, 8, sizeof(image));
    vm_store_le(image + 24, 8, 8);
    memcpy(image + 56, "ARM\x64", 4);
    l->payload = (struct varch_payload){ .kernel = { "kernel", file_of(image, sizeof(image)) },
                                         .initrd = { "initrd", file_of(initrd, sizeof(initrd)) },
                                         .cmdline = "quiet" };
}

static void load_close(struct loaded *l)
{
    close(l->payload.kernel.fd);
    close(l->payload.initrd.fd);
    gm_view_exit(&l->view);
    gm_space_free(l->space);
    kt_close();
}

Test(load, kernel_initrd_and_tree_are_in_memory)
{
    struct loaded l;
    uint8_t bytes[8192];
    uint64_t at;

    load_open(&l);
    WORKS(varch_load(k.arch, &l.view, &l.payload));

    cr_assert_eq(k.arch->start.pc, KERNEL);
    cr_assert_eq(k.arch->start.x0, DTB);
    WORKS(gm_read(&l.view, KERNEL + 56, bytes, 4));
    cr_assert_arr_eq(bytes, "ARM\x64", 4);
    WORKS(gm_read(&l.view, DTB, bytes, sizeof(bytes)));
    cr_assert_eq(fdt_check_header(bytes), 0);
    at = cells(bytes, "/chosen", "linux,initrd-start", 0, 2);
    cr_assert_eq(cells(bytes, "/chosen", "linux,initrd-end", 0, 2), at + 100);
    cr_assert(there(bytes, "/chosen", "rng-seed"));
    cr_assert(there(bytes, "/chosen", "kaslr-seed"));
    WORKS(gm_read(&l.view, at, bytes, 7));
    cr_assert_str_eq((char *)bytes, "initrd");
    load_close(&l);
}

Test(load, there_may_be_no_initrd)
{
    struct loaded l;
    uint8_t bytes[8192];

    load_open(&l);
    close(l.payload.initrd.fd);
    l.payload.initrd = (struct varch_image){ "", -1 };
    WORKS(varch_load(k.arch, &l.view, &l.payload));

    WORKS(gm_read(&l.view, DTB, bytes, sizeof(bytes)));
    cr_assert(!there(bytes, "/chosen", "linux,initrd-start"));
    load_close(&l);
}

static int no_numbers(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    (void)buf;
    (void)len;
    return vm_fail(-EIO, "no numbers");
}

Test(load, what_cannot_be_read_is_named)
{
    struct loaded l;
    int kernel, initrd, empty = file_of("", 0);

    load_open(&l);
    kernel = l.payload.kernel.fd;
    initrd = l.payload.initrd.fd;
    l.payload.kernel.fd = empty;
    cr_expect_eq(varch_load(k.arch, &l.view, &l.payload), -EINVAL);
    cr_expect(strstr(vm_error_text(), "kernel is empty"), "%s", vm_error_text());
    l.payload.kernel.fd = kernel;
    l.payload.initrd.fd = empty;
    cr_expect_eq(varch_load(k.arch, &l.view, &l.payload), -EINVAL);
    cr_expect(strstr(vm_error_text(), "initrd is empty"), "%s", vm_error_text());
    l.payload.initrd.fd = initrd;
    k.env.random = no_numbers;
    cr_expect_eq(varch_load(k.arch, &l.view, &l.payload), -EIO);
    close(empty);
    load_close(&l);
}
