/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The reference loader: what a guest costs if its VMM were next to nothing. It makes the calls of
 * KVM that a Linux guest cannot do without, copies kernel and initramfs into memory and runs one
 * vCPU. Ports 0x70 and 0x71 answer as a real-time clock whose time stands still (a guest without
 * one probes for a second); every other port reads as all ones; there is no UART, no bus, no ACPI.
 * The guest ends by triple fault ("reboot=t").
 *
 *     floor MIB KERNEL [INITRAMFS COMMAND-LINE]
 *
 * KERNEL is an ELF file, entered in 64-bit mode with a zero page (Linux Documentation/arch/x86,
 * boot.rst and zero-page.rst). Not a model for anybody: it trusts its files and ends at the first
 * error.
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ZERO_PAGE = 0x7000,
    PAGE_TABLES = 0x9000,
    COMMAND_LINE = 0x20000,
    EBDA = 0x9fc00,
    HIGH = 0x100000,
    CPUID_MAX = 100,
    ONE_GIB = 1 << 30,
    TWO_MIB = 1 << 21,
};

/* Offsets in the zero page. */
enum {
    E820_COUNT = 0x1e8,
    BOOT_FLAG = 0x1fe,
    HEADER_MAGIC = 0x202,
    LOADER_TYPE = 0x210,
    RAMDISK = 0x218,
    RAMDISK_SIZE = 0x21c,
    CMDLINE = 0x228,
    E820 = 0x2d0,
};

#define CPUID_1_HYPERVISOR   (1U << 31)
#define CPUID_1_TSC_DEADLINE (1U << 24)

struct loader {
    int kvm, vm, vcpu;
    uint8_t *ram;
    uint64_t size, entry;
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
    struct kvm_userspace_memory_region slot = { .memory_size = l->size };
    struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
    int run_size;

    l->kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    l->vm = check(ioctl(l->kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    l->ram = mmap(NULL, l->size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(l->ram == MAP_FAILED ? -1 : 0, "memory");
    madvise(l->ram, l->size, MADV_HUGEPAGE);
    slot.userspace_addr = (uintptr_t)l->ram;
    check(ioctl(l->vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
    check(ioctl(l->vm, KVM_ENABLE_CAP, &split), "KVM_CAP_SPLIT_IRQCHIP");
    l->vcpu = check(ioctl(l->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    run_size = check(ioctl(l->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    l->run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, l->vcpu, 0);
    check(l->run == MAP_FAILED ? -1 : 0, "kvm_run");
}

static void set_cpuid(struct loader *l)
{
    _Alignas(struct kvm_cpuid2)
        uint8_t room[sizeof(struct kvm_cpuid2) + CPUID_MAX * sizeof(struct kvm_cpuid_entry2)] = {
            0
        };
    struct kvm_cpuid2 *c = (struct kvm_cpuid2 *)(void *)room;

    c->nent = CPUID_MAX;
    check(ioctl(l->kvm, KVM_GET_SUPPORTED_CPUID, c), "KVM_GET_SUPPORTED_CPUID");
    for (uint32_t i = 0; i < c->nent; i++)
        if (c->entries[i].function == 1)
            c->entries[i].ecx |= CPUID_1_HYPERVISOR | CPUID_1_TSC_DEADLINE;
    check(ioctl(l->vcpu, KVM_SET_CPUID2, c), "KVM_SET_CPUID2");
}

static void load_at(const struct loader *l, int fd, uint64_t at, uint64_t size, uint64_t offset)
{
    if (at > l->size || size > l->size - at ||
        pread(fd, l->ram + at, size, (off_t)offset) != (ssize_t)size) {
        fprintf(stderr, "floor: a file is too large or short\n");
        exit(1);
    }
}

static void load_kernel(struct loader *l, const char *path)
{
    int fd = check(open(path, O_RDONLY | O_CLOEXEC), path);
    Elf64_Phdr p[16];
    Elf64_Ehdr e;

    check(pread(fd, &e, sizeof(e), 0) == sizeof(e) && e.e_phnum <= 16 ? 0 : -1, path);
    check((int)pread(fd, p, e.e_phnum * sizeof(p[0]), (off_t)e.e_phoff), path);
    for (int i = 0; i < e.e_phnum; i++)
        if (p[i].p_type == PT_LOAD)
            load_at(l, fd, p[i].p_paddr, p[i].p_filesz, p[i].p_offset);
    l->entry = e.e_entry;
    close(fd);
}

static void put32(uint8_t *at, uint64_t value)
{
    uint32_t v = (uint32_t)value;

    memcpy(at, &v, sizeof(v));
}

static void load_initramfs(struct loader *l, const char *path)
{
    int fd = check(open(path, O_RDONLY | O_CLOEXEC), path);
    struct stat st;
    uint64_t at;

    check(fstat(fd, &st), path);
    at = (l->size - (uint64_t)st.st_size) & ~0xfffULL;
    load_at(l, fd, at, (uint64_t)st.st_size, 0);
    put32(l->ram + ZERO_PAGE + RAMDISK, at);
    put32(l->ram + ZERO_PAGE + RAMDISK_SIZE, (uint64_t)st.st_size);
    close(fd);
}

/* A row of the memory map: address, size, type 1 = RAM; 20 bytes. */
static void add_ram(uint8_t *zero_page, uint64_t base, uint64_t size)
{
    uint8_t *row = zero_page + E820 + 20 * zero_page[E820_COUNT]++;

    memcpy(row, &base, 8);
    memcpy(row + 8, &size, 8);
    put32(row + 16, 1);
}

static void fill_zero_page(struct loader *l, const char *command_line)
{
    uint8_t *z = l->ram + ZERO_PAGE;

    z[BOOT_FLAG] = 0x55;
    z[BOOT_FLAG + 1] = 0xaa;
    memcpy(z + HEADER_MAGIC, "HdrS", 4);
    z[LOADER_TYPE] = 0xff;
    put32(z + CMDLINE, COMMAND_LINE);
    add_ram(z, 0, EBDA);
    add_ram(z, HIGH, l->size - HIGH);
    strcpy((char *)l->ram + COMMAND_LINE, command_line);
}

/* The first GiB is mapped to itself by pages of 2 MiB. */
static void fill_page_tables(struct loader *l)
{
    uint64_t *pml4 = (uint64_t *)(void *)(l->ram + PAGE_TABLES);
    uint64_t *pdpt = pml4 + 512, *pd = pdpt + 512;

    pml4[0] = (PAGE_TABLES + 0x1000) | 3;
    pdpt[0] = (PAGE_TABLES + 0x2000) | 3;
    for (uint64_t i = 0; i < ONE_GIB / TWO_MIB; i++)
        pd[i] = i * TWO_MIB | 0x83;
}

static void set_registers(struct loader *l)
{
    struct kvm_segment code = {
        .limit = ~0U, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
    };
    struct kvm_segment data = {
        .limit = ~0U, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
    };
    struct kvm_regs regs = { .rip = l->entry, .rsi = ZERO_PAGE, .rflags = 2 };
    struct kvm_sregs s;

    check(ioctl(l->vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
    s.cs = code;
    s.ds = s.es = s.fs = s.gs = s.ss = data;
    s.cr0 = 0x80000001; /* PG, PE */
    s.cr3 = PAGE_TABLES;
    s.cr4 = 0x20; /* PAE */
    s.efer = 0x500; /* LME, LMA */
    check(ioctl(l->vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
    check(ioctl(l->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* 2026-01-01 00:00:00, valid, never updating. */
static uint8_t rtc(uint8_t index)
{
    static const uint8_t registers[0x40] = {
        [7] = 1, [8] = 1, [9] = 0x26, [10] = 0x26, [11] = 2, [13] = 0x80, [0x32] = 0x20
    };

    return registers[index & 0x3f];
}

static int run(struct loader *l)
{
    struct kvm_run *r = l->run;
    uint8_t index = 0;

    for (;;) {
        check(ioctl(l->vcpu, KVM_RUN, 0), "KVM_RUN");
        if (r->exit_reason == KVM_EXIT_IO) {
            uint8_t *data = (uint8_t *)r + r->io.data_offset;

            if (r->io.direction == KVM_EXIT_IO_OUT && r->io.port == 0x70)
                index = *data;
            else if (r->io.direction == KVM_EXIT_IO_IN)
                memset(data, r->io.port == 0x71 ? rtc(index) : 0xff,
                       (size_t)r->io.size * r->io.count);
        } else if (r->exit_reason == KVM_EXIT_MMIO) {
            if (!r->mmio.is_write)
                memset(r->mmio.data, 0xff, sizeof(r->mmio.data));
        } else {
            if (r->exit_reason == KVM_EXIT_SHUTDOWN)
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
    set_cpuid(&l);
    load_kernel(&l, argv[2]);
    if (argc == 5) {
        fill_zero_page(&l, argv[4]);
        load_initramfs(&l, argv[3]);
    }
    fill_page_tables(&l);
    set_registers(&l);
    return run(&l);
}
