/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Device trees, as dtc and libfdt read them. */
#include "fdt_test.h"

static struct vboot_arm_map map;
static struct vboot_arm_cpu cpus[VBOOT_ARM_CPUS_MAX + 1];
static struct vboot_arm_fdt config;
static struct vm_buffer blob;
static uint8_t seed[VBOOT_ARM_SEED_BYTES];

static const struct vdev_firmware uart0 = { .compatible = "arm,pl011 arm,primecell",
                                            .node = "serial",
                                            .clocks = "uartclk apb_pclk",
                                            .resource = { { VDEV_RES_MMIO, 0x9000000, 0x1000 },
                                                          { VDEV_RES_IRQ, 0, 1 } } };
static const struct vdev_firmware uart2 = { .compatible = "arm,pl011 arm,primecell",
                                            .node = "serial",
                                            .clocks = "uartclk apb_pclk",
                                            .resource = { { VDEV_RES_MMIO, 0x9020000, 0x1000 },
                                                          { VDEV_RES_IRQ, 2, 1 } } };
static const struct vdev_firmware rtc = { .compatible = "arm,pl031 arm,primecell",
                                          .node = "rtc",
                                          .resource = { { VDEV_RES_MMIO, 0x9100000, 0x1000 },
                                                        { VDEV_RES_IRQ, 4, 1 } } };
static const struct vdev_firmware gpio = { .compatible = "arm,pl061 arm,primecell",
                                           .node = "gpio",
                                           .resource = { { VDEV_RES_MMIO, 0x9200000, 0x1000 },
                                                         { VDEV_RES_IRQ, 5, 1 } } };
static const struct vdev_firmware mmio3 = { .compatible = "virtio,mmio",
                                            .node = "virtio_mmio",
                                            .resource = { { VDEV_RES_MMIO, 0xa003000, 0x200 },
                                                          { VDEV_RES_IRQ, 19, 0 } } };
static const struct vdev_firmware nothing = { .acpi_hid = "PNP0501" };
static const struct vdev_firmware *const all[] = { &uart2, &nothing, &uart0, &rtc, &gpio, &mmio3 };

static void setup(void)
{
    WORKS(vboot_arm_map_make(1, GIB, 40, 1, &map));
    for (unsigned i = 0; i < VM_ARRAY_SIZE(cpus); i++)
        cpus[i] = (struct vboot_arm_cpu){ .mpidr = 0x80000000 | vboot_arm_mpidr(i) };
    for (unsigned i = 0; i < sizeof(seed); i++)
        seed[i] = (uint8_t)(i + 1);
    config = (struct vboot_arm_fdt){ .map = &map, .cpus = cpus, .cpu_count = 1 };
}

static void teardown(void)
{
    vm_buffer_free(&blob);
}

TestSuite(arm_fdt, .init = setup, .fini = teardown);

static void make(void)
{
    vm_buffer_free(&blob);
    WORKS(vboot_arm_fdt_make(&config, &blob));
    cr_assert_eq(fdt_check_full(blob.data, blob.len), 0);
}

/* ---- dtc has nothing to complain of, whatever the machine ---- */

static void reads(void)
{
    size_t len;
    char *text;

    make();
    text = dtc("-I dtb -O dts", blob.data, blob.len, &len);
    cr_assert_gt(len, 1000);
    free(text);
}

static void with_everything(void)
{
    config.devices = all;
    config.device_count = VM_ARRAY_SIZE(all);
    config.msi = config.pmu = config.pci = config.pci_io = config.pci_intx = true;
    config.cmdline = "console=ttyAMA0";
    config.initrd = (struct vboot_arm_range){ 0x48000000, 0x1234 };
    config.seed = seed;
}

Test(arm_fdt, dtc_reads_the_smallest_machine)
{
    NEEDS_DTC();
    reads();
}

Test(arm_fdt, dtc_reads_a_machine_with_everything)
{
    static const struct vboot_arm_memory memory[] = { { { 0x40000000, 0x20000000 }, 0 },
                                                      { { 0x60000000, 0x20000000 }, 1 } };

    NEEDS_DTC();
    WORKS(vboot_arm_map_make(1, GIB, 40, 16, &map));
    with_everything();
    config.cpu_count = 512;
    config.topology = (struct vboot_arm_topology){ 2, 8, 16, 2 };
    config.memory = memory;
    config.memory_count = 2;

    reads();
}

Test(arm_fdt, dtc_reads_a_machine_with_gicv2)
{
    NEEDS_DTC();
    WORKS(vboot_arm_map_make(1, GIB, 40, 2, &map));
    with_everything();
    config.gic = VBOOT_ARM_GIC_V2;
    config.cpu_count = 8;

    reads();
}

/* ---- root, chosen, memory ---- */

Test(arm_fdt, root_is_a_virtual_machine)
{
    make();

    STRING("/", "compatible", "linux,dummy-virt");
    CELLS("/", "#address-cells", "2");
    CELLS("/", "#size-cells", "2");
    CELLS("/", "interrupt-parent", "1");
    CELLS("/interrupt-controller@8000000", "phandle", "1");
    FLAG("/", "dma-coherent");
    cr_assert_eq(fdt_totalsize(blob.data), blob.len);
}

Test(arm_fdt, what_is_chosen_is_told)
{
    int len;

    with_everything();
    make();

    STRING("/chosen", "bootargs", "console=ttyAMA0");
    STRING("/chosen", "stdout-path", "/serial@9000000");
    CELLS("/chosen", "linux,initrd-start", "0 48000000");
    CELLS("/chosen", "linux,initrd-end", "0 48001234");
    CELLS("/chosen", "kaslr-seed", "41424344 45464748");
    cr_assert(!memcmp(
        fdt_getprop(blob.data, fdt_path_offset(blob.data, "/chosen"), "rng-seed", &len), seed, 64));
    cr_assert_eq(len, 64);
}

Test(arm_fdt, what_is_not_chosen_is_not_told)
{
    make();

    LACKS("/chosen", "bootargs");
    LACKS("/chosen", "stdout-path");
    LACKS("/chosen", "linux,initrd-start");
    LACKS("/chosen", "rng-seed");
    LACKS("/chosen", "kaslr-seed");
    LACKS("/aliases", "serial0");
    ABSENT("/gpio-keys");
    ABSENT("/pmu");
    ABSENT("/pcie@80000000");
    ABSENT("/cpus/cpu-map");
    ABSENT("/interrupt-controller@8000000/msi-controller@8080000");
}

Test(arm_fdt, memory_is_one_node)
{
    make();

    STRING("/memory@40000000", "device_type", "memory");
    CELLS("/memory@40000000", "reg", "0 40000000 0 40000000");
    LACKS("/memory@40000000", "numa-node-id");
    LACKS("/cpus/cpu@0", "numa-node-id");
}

Test(arm_fdt, numa_nodes_have_their_memory_and_cpus)
{
    static const struct vboot_arm_memory memory[] = { { { 0x40000000, 0x10000000 }, 0 },
                                                      { { 0x50000000, 0x30000000 }, 3 } };

    config.memory = memory;
    config.memory_count = 2;
    config.cpu_count = 2;
    cpus[1].node = 3;
    make();

    CELLS("/memory@40000000", "reg", "0 40000000 0 10000000");
    CELLS("/memory@40000000", "numa-node-id", "0");
    CELLS("/memory@50000000", "reg", "0 50000000 0 30000000");
    CELLS("/memory@50000000", "numa-node-id", "3");
    CELLS("/cpus/cpu@0", "numa-node-id", "0");
    CELLS("/cpus/cpu@1", "numa-node-id", "3");
}

/* ---- CPUs ---- */

Test(arm_fdt, cpus_are_named_by_mpidr_and_started_by_psci)
{
    config.cpu_count = 18;
    make();

    CELLS("/cpus", "#address-cells", "1");
    CELLS("/cpus", "#size-cells", "0");
    STRING("/cpus/cpu@0", "compatible", "arm,armv8");
    STRING("/cpus/cpu@0", "device_type", "cpu");
    STRING("/cpus/cpu@101", "enable-method", "psci");
    CELLS("/cpus/cpu@f", "reg", "f");
    CELLS("/cpus/cpu@101", "reg", "101");
    ABSENT("/cpus/cpu@102");
    STRING("/psci", "compatible", "arm,psci-1.0|arm,psci-0.2");
    STRING("/psci", "method", "hvc");
}

Test(arm_fdt, affinity_level_3_takes_a_second_cell)
{
    config.cpu_count = 2;
    cpus[1].mpidr = 0x1200000001;
    make();

    CELLS("/cpus", "#address-cells", "2");
    CELLS("/cpus/cpu@0", "reg", "0 0");
    CELLS("/cpus/cpu@1200000001", "reg", "12 1");
}

Test(arm_fdt, topology_of_sockets_and_cores)
{
    char cpu[16];

    config.cpu_count = 5;
    config.topology = (struct vboot_arm_topology){ .sockets = 2, .cores = 3 };
    make();

    snprintf(cpu, sizeof(cpu), "%x",
             fdt_get_phandle(blob.data, fdt_path_offset(blob.data, "/cpus/cpu@4")));
    CELLS("/cpus/cpu-map/socket1/cluster0/core1", "cpu", cpu);
    ABSENT("/cpus/cpu-map/socket1/cluster0/core2");
    ABSENT("/cpus/cpu-map/socket0/cluster0/core3");
    ABSENT("/cpus/cpu-map/socket0/cluster1");
}

Test(arm_fdt, topology_of_clusters_and_threads)
{
    char cpu[16];

    config.cpu_count = 8;
    config.topology = (struct vboot_arm_topology){ 1, 2, 2, 2 };
    make();

    snprintf(cpu, sizeof(cpu), "%x",
             fdt_get_phandle(blob.data, fdt_path_offset(blob.data, "/cpus/cpu@5")));
    CELLS("/cpus/cpu-map/socket0/cluster1/core0/thread1", "cpu", cpu);
    LACKS("/cpus/cpu-map/socket0/cluster1/core0", "cpu");
}

Test(arm_fdt, timer_and_pmu_have_private_interrupts)
{
    config.pmu = true;
    make();

    STRING("/timer", "compatible", "arm,armv8-timer");
    CELLS("/timer", "interrupts", "1 d 4 1 e 4 1 b 4 1 a 4");
    FLAG("/timer", "always-on");
    STRING("/pmu", "compatible", "arm,armv8-pmuv3");
    CELLS("/pmu", "interrupts", "1 7 4");
}

/* ---- interrupt controllers ---- */

Test(arm_fdt, gicv3_has_a_redistributor_for_each_cpu)
{
    config.cpu_count = 3;
    make();

    STRING("/interrupt-controller@8000000", "compatible", "arm,gic-v3");
    CELLS("/interrupt-controller@8000000", "reg", "0 8000000 0 10000 0 c000000 0 60000");
    CELLS("/interrupt-controller@8000000", "#interrupt-cells", "3");
    FLAG("/interrupt-controller@8000000", "interrupt-controller");
    FLAG("/interrupt-controller@8000000", "ranges");
}

Test(arm_fdt, each_segment_has_an_its)
{
    WORKS(vboot_arm_map_make(1, GIB, 40, 3, &map));
    with_everything();
    make();

    STRING("/interrupt-controller@8000000/msi-controller@8080000", "compatible", "arm,gic-v3-its");
    CELLS("/interrupt-controller@8000000/msi-controller@80c0000", "reg", "0 80c0000 0 20000");
    CELLS("/interrupt-controller@8000000/msi-controller@80c0000", "#msi-cells", "1");
    FLAG("/interrupt-controller@8000000/msi-controller@80c0000", "msi-controller");
    ABSENT("/interrupt-controller@8000000/msi-controller@80e0000");
    for (unsigned s = 0; s < 3; s++) {
        char its[80], pcie[32], want[32];

        snprintf(its, sizeof(its), "/interrupt-controller@8000000/msi-controller@%x",
                 0x8080000 + s * 0x20000);
        snprintf(pcie, sizeof(pcie), "/pcie@%x", 0x80000000 + s * 0x10000000);
        snprintf(want, sizeof(want), "0 %x 0 10000",
                 fdt_get_phandle(blob.data, fdt_path_offset(blob.data, its)));
        CELLS(pcie, "msi-map", want);
    }
}

Test(arm_fdt, gicv2_has_a_frame_for_messages)
{
    char want[16];

    WORKS(vboot_arm_map_make(1, GIB, 40, 2, &map));
    with_everything();
    config.gic = VBOOT_ARM_GIC_V2;
    config.cpu_count = 3;
    make();

    STRING("/interrupt-controller@8000000", "compatible", "arm,cortex-a15-gic");
    CELLS("/interrupt-controller@8000000", "reg", "0 8000000 0 1000 0 8010000 0 2000");
    STRING("/interrupt-controller@8000000/v2m@8020000", "compatible", "arm,gic-v2m-frame");
    CELLS("/interrupt-controller@8000000/v2m@8020000", "reg", "0 8020000 0 1000");
    CELLS("/timer", "interrupts", "1 d 704 1 e 704 1 b 704 1 a 704");
    CELLS("/pmu", "interrupts", "1 7 704");
    snprintf(
        want, sizeof(want), "%x",
        fdt_get_phandle(blob.data,
                        fdt_path_offset(blob.data, "/interrupt-controller@8000000/v2m@8020000")));
    CELLS("/pcie@90000000", "msi-parent", want);
    LACKS("/pcie@90000000", "msi-map");
}

/* ---- PCI ---- */

Test(arm_fdt, host_bridge_has_its_windows)
{
    config.pci = true;
    make();

    STRING("/pcie@80000000", "compatible", "pci-host-ecam-generic");
    STRING("/pcie@80000000", "device_type", "pci");
    CELLS("/pcie@80000000", "reg", "0 80000000 0 10000000");
    CELLS("/pcie@80000000", "bus-range", "0 0");
    CELLS("/pcie@80000000", "linux,pci-domain", "0");
    CELLS("/pcie@80000000", "ranges",
          "2000000 0 10000000 0 10000000 0 2fff0000 3000000 1 80000000 1 80000000 10 0");
    FLAG("/pcie@80000000", "dma-coherent");
    LACKS("/pcie@80000000", "msi-map");
    LACKS("/pcie@80000000", "interrupt-map");
}

Test(arm_fdt, other_segments_have_the_large_window_only)
{
    WORKS(vboot_arm_map_make(1, GIB, 40, 2, &map));
    with_everything();
    make();

    CELLS("/pcie@90000000", "linux,pci-domain", "1");
    CELLS("/pcie@90000000", "ranges", "3000000 11 80000000 11 80000000 10 0");
    LACKS("/pcie@90000000", "interrupt-map");
    CELLS("/pcie@80000000", "ranges",
          "1000000 0 0 0 3fff0000 0 10000 2000000 0 10000000 0 10000000 0 2fff0000 "
          "3000000 1 80000000 1 80000000 10 0");
}

Test(arm_fdt, pins_go_round_by_device_number)
{
    config.pci = config.pci_intx = true;
    make();

    CELLS("/pcie@80000000", "#interrupt-cells", "1");
    CELLS("/pcie@80000000", "interrupt-map-mask", "1800 0 0 7");
    CELLS(
        "/pcie@80000000", "interrupt-map",
        "0 0 0 1 1 0 0 0 8 4 0 0 0 2 1 0 0 0 9 4 0 0 0 3 1 0 0 0 a 4 0 0 0 4 1 0 0 0 b 4 "
        "800 0 0 1 1 0 0 0 9 4 800 0 0 2 1 0 0 0 a 4 800 0 0 3 1 0 0 0 b 4 800 0 0 4 1 0 0 0 8 4 "
        "1000 0 0 1 1 0 0 0 a 4 1000 0 0 2 1 0 0 0 b 4 1000 0 0 3 1 0 0 0 8 4 1000 0 0 4 1 0 0 0 9 "
        "4 1800 0 0 1 1 0 0 0 b 4 1800 0 0 2 1 0 0 0 8 4 1800 0 0 3 1 0 0 0 9 4 1800 0 0 4 1 0 0 0 "
        "a 4");
}

/* ---- devices ---- */

Test(arm_fdt, devices_say_what_they_are)
{
    with_everything();
    make();

    STRING("/serial@9000000", "compatible", "arm,pl011|arm,primecell");
    CELLS("/serial@9000000", "reg", "0 9000000 0 1000");
    CELLS("/serial@9000000", "interrupts", "0 0 4");
    STRING("/serial@9000000", "clock-names", "uartclk|apb_pclk");
    CELLS("/serial@9000000", "clocks", "2 2");
    CELLS("/clock-24000000", "phandle", "2");
    CELLS("/clock-24000000", "clock-frequency", "16e3600");
    STRING("/rtc@9100000", "clock-names", "apb_pclk");
    CELLS("/rtc@9100000", "clocks", "2");
    CELLS("/virtio_mmio@a003000", "interrupts", "0 13 1");
    FLAG("/virtio_mmio@a003000", "dma-coherent");
    LACKS("/virtio_mmio@a003000", "clocks");
    LACKS("/serial@9000000", "dma-coherent");
}

Test(arm_fdt, uarts_keep_their_numbers)
{
    with_everything();
    make();

    STRING("/aliases", "serial0", "/serial@9000000");
    STRING("/aliases", "serial2", "/serial@9020000");
    LACKS("/aliases", "serial1");
}

Test(arm_fdt, power_key_hangs_on_pin_3)
{
    with_everything();
    make();

    FLAG("/gpio@9200000", "gpio-controller");
    CELLS("/gpio@9200000", "#gpio-cells", "2");
    FLAG("/gpio@9200000", "interrupt-controller");
    CELLS("/gpio@9200000", "phandle", "3");
    STRING("/gpio-keys", "compatible", "gpio-keys");
    CELLS("/gpio-keys/key-power", "gpios", "3 3 0");
    CELLS("/gpio-keys/key-power", "linux,code", "74");
}

Test(arm_fdt, labels_lead_to_their_nodes)
{
    static const char *const labels[] = { "gic",    "apb_clk", "its0",  "pcie0", "its15",
                                          "pcie15", "rtc",     "gpio0", "uart0", "uart2" };

    WORKS(vboot_arm_map_make(1, GIB, 40, 16, &map));
    with_everything();
    make();

    for (unsigned i = 0; i < VM_ARRAY_SIZE(labels); i++) {
        const char *path = strings_of(blob.data, "/__symbols__", labels[i]);
        int node = fdt_path_offset(blob.data, path);

        cr_assert_geq(node, 0, "%s: %s", labels[i], path);
        cr_assert_neq(fdt_get_phandle(blob.data, node), 0, "%s", labels[i]);
    }
    LACKS("/__symbols__", "uart1");
}

static const struct vdev_firmware *const *one(const struct vdev_firmware *fw)
{
    static const struct vdev_firmware *list[1];

    list[0] = fw;
    config.devices = list;
    config.device_count = 1;
    return list;
}

Test(arm_fdt, device_without_a_name_is_called_device)
{
    static const struct vdev_firmware fw = { .compatible = "x,arm,primecell arm,primecells y",
                                             .resource = { { VDEV_RES_MMIO, 0x1000, 0x10 },
                                                           { VDEV_RES_MMIO, 0x2000, 0x20 } } };

    one(&fw);
    make();

    CELLS("/device@1000", "reg", "0 1000 0 10 0 2000 0 20");
    LACKS("/device@1000", "interrupts");
    LACKS("/device@1000", "clocks");
}

Test(arm_fdt, device_that_cannot_be_described_is_refused)
{
    static const struct vdev_firmware ports = { .compatible = "ns16550a",
                                                .resource = { { VDEV_RES_MMIO, 0x1000, 0x10 },
                                                              { VDEV_RES_PIO, 0x3f8, 8 } } };
    static const struct vdev_firmware nowhere = { .compatible = "x",
                                                  .resource = { { VDEV_RES_IRQ, 1, 0 } } };
    static const char long_name[200] = { [0 ... 198] = 'x' };
    const struct vdev_firmware long_list = { .compatible = long_name,
                                             .resource = { { VDEV_RES_MMIO, 0x1000, 0x10 } } };

    one(&ports);
    FAILS(vboot_arm_fdt_make(&config, &blob), -EINVAL,
          "device tree: FDT: device has ports, which AArch64 does not");
    one(&nowhere);
    FAILS(vboot_arm_fdt_make(&config, &blob), -EINVAL,
          "device tree: FDT: device device has no address");
    one(&long_list);
    cr_assert_eq(vboot_arm_fdt_make(&config, &blob), -EINVAL);
    cr_assert_null(blob.data);
}

/* ---- bad input ---- */

Test(arm_fdt, number_of_cpus_has_a_bound)
{
    config.cpu_count = 0;
    FAILS(vboot_arm_fdt_make(&config, &blob), -EINVAL, "0 CPUs: a machine with GICv3 has 1 to 512");
    config.cpu_count = 513;
    FAILS(vboot_arm_fdt_make(&config, &blob), -EINVAL,
          "513 CPUs: a machine with GICv3 has 1 to 512");
    config.cpu_count = 9;
    config.gic = VBOOT_ARM_GIC_V2;
    FAILS(vboot_arm_fdt_make(&config, &blob), -EINVAL, "9 CPUs: a machine with GICv2 has 1 to 8");
}

Test(arm_fdt, two_cpus_with_one_mpidr_are_refused)
{
    config.cpu_count = 3;
    cpus[2].mpidr = 0x8000000000000000 | cpus[1].mpidr;

    FAILS(vboot_arm_fdt_make(&config, &blob), -EINVAL, "CPUs 1 and 2 have the same MPIDR 0x1");
}

Test(arm_fdt, topology_must_have_room)
{
    config.cpu_count = 5;
    config.topology = (struct vboot_arm_topology){ .sockets = 2, .cores = 2 };
    FAILS(vboot_arm_fdt_make(&config, &blob), -EINVAL,
          "topology: 4 CPUs by sockets, clusters, cores and threads, but the machine has 5");
    config.topology.threads = 513;
    FAILS(vboot_arm_fdt_make(&config, &blob), -EINVAL,
          "topology: 513 of a kind: at most 512 are possible");
}

Test(arm_fdt, command_line_has_a_bound)
{
    char line[2049];

    memset(line, 'x', sizeof(line));
    line[2048] = 0;
    config.cmdline = line;
    FAILS(vboot_arm_fdt_make(&config, &blob), -EINVAL,
          "command line of 2048 bytes: AArch64 kernels take 2047 at most; give a shorter one");
    line[2047] = 0;
    make();
    STRING("/chosen", "bootargs", line);
}

Test(arm_fdt, equal_machines_have_equal_trees)
{
    struct vm_buffer other = { 0 };

    with_everything();
    make();
    WORKS(vboot_arm_fdt_make(&config, &other));

    cr_assert_eq(blob.len, other.len);
    cr_assert(!memcmp(blob.data, other.data, other.len));
    vm_buffer_free(&other);
}
