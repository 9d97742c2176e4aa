/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Overlays from dtc, and broken ones. */
#include "fdt_test.h"

static struct vboot_arm_map map;
static struct vm_buffer blob;

static const struct vdev_firmware uart = { .compatible = "arm,pl011 arm,primecell",
                                           .node = "serial",
                                           .resource = { { VDEV_RES_MMIO, 0x9000000, 0x1000 },
                                                         { VDEV_RES_IRQ, 0, 1 } } };

static void setup(void)
{
    static const struct vboot_arm_cpu cpu = { 0 };
    static const struct vdev_firmware *const devices[] = { &uart };
    const struct vboot_arm_fdt config = {
        .map = &map, .cpus = &cpu, .cpu_count = 1, .devices = devices, .device_count = 1
    };

    WORKS(vboot_arm_map_make(1, GIB, 40, 1, &map));
    WORKS(vboot_arm_fdt_make(&config, &blob));
}

static void teardown(void)
{
    vm_buffer_free(&blob);
}

TestSuite(arm_overlay, .init = setup, .fini = teardown);

static int apply_made(const char *arguments, const char *source)
{
    size_t len;
    char *overlay = dtc(arguments, source, strlen(source), &len);
    int rc = vboot_arm_fdt_overlay(&blob, "my.dtbo", overlay, len);

    free(overlay);
    return rc;
}

static int apply_source(const char *source)
{
    return apply_made("-@ -q -I dts -O dtb", source);
}

Test(arm_overlay, a_node_is_added_by_path)
{
    NEEDS_DTC();

    WORKS(apply_source("/dts-v1/; /plugin/; &{/chosen} { extra { x-value = <5>; }; };"));

    CELLS("/chosen/extra", "x-value", "5");
    STRING("/serial@9000000", "compatible", "arm,pl011|arm,primecell");
    cr_assert_eq(fdt_totalsize(blob.data), blob.len);
}

Test(arm_overlay, labels_of_the_machine_are_known)
{
    NEEDS_DTC();

    WORKS(apply_source("/dts-v1/; /plugin/; &uart0 { status = \"disabled\"; clocks = <&apb_clk>; "
                       "local: sub { x-me = <&local>; }; };"));

    STRING("/serial@9000000", "status", "disabled");
    CELLS("/serial@9000000", "clocks", "2");
    CELLS("/serial@9000000/sub", "x-me", cells_of(blob.data, "/serial@9000000/sub", "phandle"));
}

Test(arm_overlay, two_overlays_apply_one_after_the_other)
{
    NEEDS_DTC();

    WORKS(apply_source("/dts-v1/; /plugin/; &uart0 { mine: sub { x-value = <1>; }; };"));
    WORKS(apply_source("/dts-v1/; /plugin/; &mine { x-value = <2>; };"));

    CELLS("/serial@9000000/sub", "x-value", "2");
}

/* The call is refused, and the tree is as before. */
#define REFUSED(call, code, text)                               \
    do {                                                        \
        struct vm_buffer before = { 0 };                        \
        WORKS(vm_buffer_add(&before, blob.data, blob.len));     \
        FAILS(call, code, text);                                \
        cr_assert_eq(before.len, blob.len);                     \
        cr_assert(!memcmp(before.data, blob.data, before.len)); \
        vm_buffer_free(&before);                                \
    } while (0)

Test(arm_overlay, what_is_not_in_the_machine_cannot_be_changed)
{
    NEEDS_DTC();

    REFUSED(apply_source("/dts-v1/; /plugin/; &nobody { x-value = <1>; };"), -EINVAL,
            "my.dtbo does not apply: the machine's device tree does not have the node or label "
            "that it refers to (vmm plan --dump-dtb shows the tree)");
    REFUSED(apply_source("/dts-v1/; /plugin/; &{/nowhere} { x-value = <1>; };"), -EINVAL,
            "my.dtbo does not apply: the machine's device tree does not have the node or label "
            "that it refers to (vmm plan --dump-dtb shows the tree)");
}

Test(arm_overlay, a_whole_tree_is_no_overlay)
{
    REFUSED(vboot_arm_fdt_overlay(&blob, "machine.dtb", blob.data, blob.len), -EINVAL,
            "machine.dtb has no fragments: it is not an overlay (dtc makes them of /plugin/ "
            "sources)");
}

Test(arm_overlay, a_file_of_another_kind_is_refused)
{
    static const char source[] = "/dts-v1/; /plugin/; &uart0 { status = \"disabled\"; };";

    REFUSED(vboot_arm_fdt_overlay(&blob, "my.dts", source, sizeof(source)), -EINVAL,
            "my.dts is not a device tree blob (.dtbo): make one by dtc -@ -O dtb");
    REFUSED(vboot_arm_fdt_overlay(&blob, "my.dts", "", 0), -EINVAL,
            "my.dts is not a device tree blob (.dtbo): make one by dtc -@ -O dtb");
}

Test(arm_overlay, a_file_that_is_cut_off_is_refused)
{
    char text[80];

    snprintf(text, sizeof(text), "my.dtbo is cut off (copy it again): %zu bytes, %zu are there",
             blob.len, blob.len - 1);
    REFUSED(vboot_arm_fdt_overlay(&blob, "my.dtbo", blob.data, blob.len - 1), -EINVAL, text);
}

Test(arm_overlay, a_file_of_an_old_version_is_refused)
{
    uint8_t *copy = malloc(blob.len);

    memcpy(copy, blob.data, blob.len);
    fdt_set_version(copy, 16);
    REFUSED(vboot_arm_fdt_overlay(&blob, "my.dtbo", copy, blob.len), -EINVAL,
            "my.dtbo is a device tree blob of version 16: make one of version 17");
    free(copy);
}

/* An overlay with something wrong in its fixups. */
static int apply_fixups(const char *fixups)
{
    char source[1024];

    snprintf(source, sizeof(source),
             "/dts-v1/; / { fragment@0 { target = <0xffffffff>; x = <0>; __overlay__ { x-a = <1 "
             "2>; phandle "
             "= <9>; sub { "
             "x-b = <3>; }; }; }; %s };",
             fixups);
    return apply_made("-f -qqq -I dts -O dtb", source); /* whatever it thinks of it */
}

Test(arm_overlay, fixups_that_lead_to_a_property_apply)
{
    NEEDS_DTC();

    WORKS(apply_fixups(
        "__fixups__ { uart0 = \"/fragment@0:target:0\"; gic = "
        "\"/fragment@0/__overlay__:x-a:4\", \"/fragment@0/__overlay__/sub:x-b:0\"; };"));

    CELLS("/serial@9000000", "x-a", "1 1");
    CELLS("/serial@9000000/sub", "x-b", "1");
}

Test(arm_overlay, fixups_that_lead_nowhere_are_refused)
{
    static const char *const wrong[] = {
        "__fixups__ { uart0 = \"/fragment@0:target:1\"; };",
        "__fixups__ { uart0 = \"/fragment@0:target:4294967292\"; };",
        "__fixups__ { uart0 = \"/fragment@0:target:99999999999\"; };",
        "__fixups__ { uart0 = \"/fragment@0:target:-4\"; };",
        "__fixups__ { uart0 = \"/fragment@0:target:\"; };",
        "__fixups__ { uart0 = \"/fragment@0:target\"; };",
        "__fixups__ { uart0 = \"/fragment@0\"; };",
        "__fixups__ { uart0 = \"/fragment@1:target:0\"; };",
        "__fixups__ { uart0 = \"/fragment@0:targets:0\"; };",
        "__fixups__ { uart0 = \"/__fixups__:uart0:0\"; };",
        "__fixups__ { uart0; };",
        "__fixups__ { uart0 = [ 41 ]; };",
        "__local_fixups__ { fragment@0 { __overlay__ { x-a = <5>; }; }; };",
        "__local_fixups__ { fragment@0 { __overlay__ { x-a = <0xfffffffc>; }; }; };",
        "__local_fixups__ { fragment@0 { __overlay__ { x-c = <0>; }; }; };",
        "__local_fixups__ { fragment@0 { __overlay__ { x-a = [ 00 ]; }; }; };",
        "__local_fixups__ { fragment@0 { __overlay__ { no { x-a = <0>; }; }; }; };",
        "__fixups__ { l = \"/fragment@0:x:0\"; }; __local_fixups__ { __fixups__ { l = <0>; }; };",
        "__local_fixups__ { fragment@0 { __overlay__ { phandle = <0>; }; }; };",
    };

    NEEDS_DTC();
    for (unsigned i = 0; i < VM_ARRAY_SIZE(wrong); i++)
        REFUSED(apply_fixups(wrong[i]), -EINVAL, "my.dtbo is broken: a fixup leads to no property");
}

Test(arm_overlay, a_broken_tree_is_refused)
{
    uint8_t *copy = malloc(blob.len);

    memcpy(copy, blob.data, blob.len);
    fdt_set_off_dt_struct(copy, 0x7ffffff0);
    REFUSED(vboot_arm_fdt_overlay(&blob, "my.dtbo", copy, blob.len), -EINVAL,
            "my.dtbo is a broken device tree blob: FDT_ERR_TRUNCATED (copy or make it again)");
    free(copy);
}

Test(arm_overlay, deep_nesting_is_refused)
{
    char source[4096] = "/dts-v1/; /plugin/; &uart0 {";

    NEEDS_DTC();
    for (unsigned i = 0; i < 40; i++)
        strcat(source, " a {");
    for (unsigned i = 0; i < 40; i++)
        strcat(source, " };");
    strcat(source, " };");

    REFUSED(apply_source(source), -EINVAL, "my.dtbo: nodes are nested deeper than 32");
}

Test(arm_overlay, too_much_is_refused)
{
    size_t len = (64 << 10) + 1;
    uint8_t *bytes = calloc(1, len);

    REFUSED(vboot_arm_fdt_overlay(&blob, "my.dtbo", bytes, len), -E2BIG,
            "my.dtbo has 65537 bytes: overlays have at most 65536");
    free(bytes);
}

/* The machine's tree, with so many bytes of ballast. */
static void fill_tree(int bytes)
{
    int room = (int)blob.len + bytes + 64;
    uint8_t *big = malloc((size_t)room);
    void *value;

    cr_assert_eq(fdt_open_into(blob.data, big, room), 0);
    cr_assert_eq(fdt_setprop_placeholder(big, 0, "x-fill", bytes, &value), 0);
    memset(value, 0, (size_t)bytes);
    cr_assert_eq(fdt_pack(big), 0);
    vm_buffer_free(&blob);
    WORKS(vm_buffer_add(&blob, big, fdt_totalsize(big)));
    free(big);
}

Test(arm_overlay, result_of_more_than_2_mib_is_refused)
{
    char source[8192] = "/dts-v1/; /plugin/; &uart0 { x-more = \"";

    NEEDS_DTC();
    memset(source + strlen(source), 'x', 7000);
    strcat(source, "\"; };");
    fill_tree(2 * MIB - 8192);

    REFUSED(apply_source(source), -E2BIG, "my.dtbo: the device tree would have more than 2 MiB");
}

Test(arm_overlay, machine_tree_that_is_broken_is_an_error)
{
    char source[] = "/dts-v1/; /plugin/; &uart0 { x = <1>; };";

    NEEDS_DTC();
    blob.data[0] = 0;
    REFUSED(apply_source(source), -EINVAL, "device tree: FDT_ERR_BADMAGIC");
}
