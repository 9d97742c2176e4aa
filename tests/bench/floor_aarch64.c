/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The reference loader for AArch64, as floor.c is for x86_64: the calls of KVM that a Linux guest cannot do without, kernel,
 * device tree and initramfs copied into memory, one vCPU run. The tree has memory, CPU, PSCI, timer and a GICv3 without an
 * ITS; there is no clock, no bus, and of a
 * UART only that it is always empty: whatever is read has these flags. The guest ends by PSCI.
 *
 *     floor MIB KERNEL [INITRAMFS COMMAND-LINE]
 *
 * KERNEL is an Image, entered as Linux Documentation/arm64/booting.rst says. Not a model for anybody: it trusts its files and
 * ends at the first error.
 */
#include <fcntl.h>
#include <libfdt.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM  0x40000000ULL /* the device tree, then the kernel at the next 2 MiB + text_offset */
#define GICD 0x08000000ULL
#define GICR 0x0c000000ULL
#define CORE(member)                                       \
    (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | \
     offsetof(struct kvm_regs, member) / sizeof(uint32_t))

enum {
    KERNEL = 0x200000,
    HUGE_PAGE = 0x200000,
    TREE_BYTES = 0x10000,
    TEXT_OFFSET = 8, /* in the header of an Image */
    GIC_PHANDLE = 1,
    IRQS = 64,
    PPI = 1,
    LEVEL_HIGH = 4,
    UART_EMPTY = 0x90, /* the flags of a PL011 that has nothing to do */
};

struct loader {
    int kvm, vm, vcpu;
    uint8_t *ram;
    uint64_t size, entry, initramfs, initramfs_size;
    struct kvm_run *run;
};

static int check(int rc, const char *what)
{
    if (rc < 0) {
        perror(what);
        exit(1);
    }
    return rc;
}

static void make_vm(struct loader *l)
{
    struct kvm_userspace_memory_region slot = { .guest_phys_addr = RAM, .memory_size = l->size };
    struct kvm_vcpu_init init = { 0 };
    int run_size;

    l->kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    l->vm = check(ioctl(l->kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    l->ram = mmap(NULL, l->size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(l->ram == MAP_FAILED ? -1 : 0, "memory");
    /* KVM maps a huge page only where both addresses begin one. */
    l->ram += -(uintptr_t)l->ram % HUGE_PAGE;
    madvise(l->ram, l->size, MADV_HUGEPAGE);
    slot.userspace_addr = (uintptr_t)l->ram;
    check(ioctl(l->vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
    l->vcpu = check(ioctl(l->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    check(ioctl(l->vm, KVM_ARM_PREFERRED_TARGET, &init), "KVM_ARM_PREFERRED_TARGET");
    init.features[0] |= 1U << KVM_ARM_VCPU_PSCI_0_2;
    check(ioctl(l->vcpu, KVM_ARM_VCPU_INIT, &init), "KVM_ARM_VCPU_INIT");
    run_size = check(ioctl(l->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    l->run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, l->vcpu, 0);
    check(l->run == MAP_FAILED ? -1 : 0, "kvm_run");
}

static void set_attribute(int fd, uint32_t group, uint64_t attr, const void *value)
{
    struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)value };

    check(ioctl(fd, KVM_SET_DEVICE_ATTR, &a), "KVM_SET_DEVICE_ATTR");
}

static void make_gic(const struct loader *l)
{
    struct kvm_create_device device = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
    const uint64_t distributor = GICD, redistributors = GICR;
    const uint32_t irqs = IRQS;

    check(ioctl(l->vm, KVM_CREATE_DEVICE, &device), "KVM_CREATE_DEVICE");
    set_attribute((int)device.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST,
                  &distributor);
    set_attribute((int)device.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST,
                  &redistributors);
    set_attribute((int)device.fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &irqs);
    set_attribute((int)device.fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
}

static uint64_t load_at(const struct loader *l, const char *path, uint64_t at, int from_end)
{
    int fd = check(open(path, O_RDONLY | O_CLOEXEC), path);
    struct stat st;
    uint64_t size;

    check(fstat(fd, &st), path);
    size = (uint64_t)st.st_size;
    if (from_end)
        at = (l->size - size) & ~0xfffULL;
    if (at > l->size || size > l->size - at || pread(fd, l->ram + at, size, 0) != (ssize_t)size) {
        fprintf(stderr, "floor: %s is too large or short\n", path);
        exit(1);
    }
    close(fd);
    return at;
}

static void load(struct loader *l, const char *kernel, const char *initramfs)
{
    uint64_t text_offset;
    struct stat st;

    load_at(l, kernel, KERNEL, 0);
    memcpy(&text_offset, l->ram + KERNEL + TEXT_OFFSET, sizeof(text_offset));
    check(text_offset ? -1 : 0, "text_offset"); /* 0 since Linux 5.10 */
    l->entry = RAM + KERNEL;
    if (!initramfs)
        return;
    check(stat(initramfs, &st), initramfs);
    l->initramfs_size = (uint64_t)st.st_size;
    l->initramfs = RAM + load_at(l, initramfs, 0, 1);
}

static void interrupts(void *fdt, const uint32_t *numbers, int count)
{
    fdt32_t cells[12];

    for (int i = 0; i < count; i++) {
        cells[3 * i] = cpu_to_fdt32(PPI);
        cells[3 * i + 1] = cpu_to_fdt32(numbers[i]);
        cells[3 * i + 2] = cpu_to_fdt32(LEVEL_HIGH);
    }
    fdt_property(fdt, "interrupts", cells, count * 3 * (int)sizeof(cells[0]));
}

static void reg(void *fdt, uint64_t base, uint64_t size)
{
    const fdt64_t cells[] = { cpu_to_fdt64(base), cpu_to_fdt64(size) };

    fdt_property(fdt, "reg", cells, sizeof(cells));
}

static void add_chosen(const struct loader *l, void *fdt, const char *command_line)
{
    fdt_begin_node(fdt, "chosen");
    if (command_line) {
        fdt_property(fdt, "bootargs", command_line, (int)strlen(command_line) + 1);
        fdt_property_u64(fdt, "linux,initrd-start", l->initramfs);
        fdt_property_u64(fdt, "linux,initrd-end", l->initramfs + l->initramfs_size);
    }
    fdt_end_node(fdt);
}

static void add_cpu(const struct loader *l, void *fdt)
{
    fdt_begin_node(fdt, "memory@40000000");
    fdt_property_string(fdt, "device_type", "memory");
    reg(fdt, RAM, l->size);
    fdt_end_node(fdt);
    fdt_begin_node(fdt, "cpus");
    fdt_property_u32(fdt, "#address-cells", 1);
    fdt_property_u32(fdt, "#size-cells", 0);
    fdt_begin_node(fdt, "cpu@0");
    fdt_property_string(fdt, "device_type", "cpu");
    fdt_property_string(fdt, "compatible", "arm,armv8");
    fdt_property_u32(fdt, "reg", 0);
    fdt_property_string(fdt, "enable-method", "psci");
    fdt_end_node(fdt);
    fdt_end_node(fdt);
    fdt_begin_node(fdt, "psci");
    fdt_property_string(fdt, "compatible", "arm,psci-0.2");
    fdt_property_string(fdt, "method", "hvc");
    fdt_end_node(fdt);
}

static void add_gic_and_timer(void *fdt)
{
    const fdt64_t frames[] = { cpu_to_fdt64(GICD), cpu_to_fdt64(0x10000), cpu_to_fdt64(GICR),
                               cpu_to_fdt64(0x20000) };

    fdt_begin_node(fdt, "interrupt-controller@8000000");
    fdt_property_string(fdt, "compatible", "arm,gic-v3");
    fdt_property(fdt, "interrupt-controller", NULL, 0);
    fdt_property_u32(fdt, "#interrupt-cells", 3);
    fdt_property(fdt, "reg", frames, sizeof(frames));
    fdt_property_u32(fdt, "phandle", GIC_PHANDLE);
    fdt_end_node(fdt);
    fdt_begin_node(fdt, "timer");
    fdt_property_string(fdt, "compatible", "arm,armv8-timer");
    interrupts(fdt, (const uint32_t[]){ 13, 14, 11, 10 }, 4);
    fdt_property(fdt, "always-on", NULL, 0);
    fdt_end_node(fdt);
}

static void make_tree(const struct loader *l, const char *command_line)
{
    void *fdt = l->ram;

    check(fdt_create(fdt, TREE_BYTES), "tree");
    fdt_finish_reservemap(fdt);
    fdt_begin_node(fdt, "");
    fdt_property_string(fdt, "compatible", "linux,dummy-virt");
    fdt_property_u32(fdt, "#address-cells", 2);
    fdt_property_u32(fdt, "#size-cells", 2);
    fdt_property_u32(fdt, "interrupt-parent", GIC_PHANDLE);
    add_chosen(l, fdt, command_line);
    add_cpu(l, fdt);
    add_gic_and_timer(fdt);
    fdt_end_node(fdt);
    check(fdt_finish(fdt), "tree"); /* the first error stays in the tree's state */
}

static void set_register(const struct loader *l, uint64_t id, uint64_t value)
{
    struct kvm_one_reg r = { .id = id, .addr = (uintptr_t)&value };

    check(ioctl(l->vcpu, KVM_SET_ONE_REG, &r), "KVM_SET_ONE_REG");
}

static int run(const struct loader *l)
{
    struct kvm_run *r = l->run;

    for (;;) {
        check(ioctl(l->vcpu, KVM_RUN, 0), "KVM_RUN");
        if (r->exit_reason == KVM_EXIT_MMIO) {
            if (!r->mmio.is_write)
                memset(r->mmio.data, UART_EMPTY, 1);
        } else {
            if (r->exit_reason == KVM_EXIT_SYSTEM_EVENT)
                return 0;
            fprintf(stderr, "floor: exit %u\n", r->exit_reason);
            return 1;
        }
    }
}

int main(int argc, char **argv)
{
    struct loader l = { 0 };

    if (argc != 3 && argc != 5)
        return fprintf(stderr, "floor: MIB KERNEL [INITRAMFS COMMAND-LINE]\n"), 2;
    l.size = strtoull(argv[1], NULL, 10) << 20;
    make_vm(&l);
    make_gic(&l);
    load(&l, argv[2], argc == 5 ? argv[3] : NULL);
    make_tree(&l, argc == 5 ? argv[4] : NULL);
    set_register(&l, CORE(regs.pc), l.entry);
    set_register(&l, CORE(regs.regs[0]), RAM);
    return run(&l);
}
