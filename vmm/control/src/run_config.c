/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The configuration of vmm run: its tables. */
#include "run_config.h"

#include "typed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/arch/arch.h>
#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/vm-memory/memory.h>

/* In the order of enum varch_irqchip. */
static const char *const irqchips[] = { "default", "split", "kernel", "gicv3", "gicv2", NULL };
static const char *const sandboxes[] = { "process", "thread", "off", NULL };
/* In the order of enum vmm_jail_action. */
static const char *const actions[] = { "kill", "trap", "log", NULL };
static const char *const levels[] = { "error", "warn", "info", "debug", NULL };

static const struct vm_prop cpus_props[] = {
    { .name = "boot",
      .type = VM_PROP_U32,
      .offset = offsetof(struct run_cpus, boot),
      .preset = "1",
      .min = 1,
      .max = 4096,
      .alias_ch = "boot_vcpus",
      .alias_crosvm = "num_cores",
      .help = "vCPUs at start" },
    { .name = "max",
      .type = VM_PROP_U32,
      .offset = offsetof(struct run_cpus, max),
      .max = 4096,
      .alias_ch = "max_vcpus",
      .help = "most vCPUs; the same as boot if not given" },
    { 0 },
};
static const struct vm_prop memory_props[] = {
    { .name = "size",
      .type = VM_PROP_SIZE,
      .offset = offsetof(struct run_memory, size),
      .preset = "256M",
      .min = 2 << 20,
      .max = 1ULL << 52, /* all physical addresses there are, on both architectures */
      .help = "guest memory" },
    { .name = "hugepages",
      .type = VM_PROP_BOOL,
      .offset = offsetof(struct run_memory, hugepages),
      .help = "take it from the host's reserved huge pages (hugetlbfs)" },
    { .name = "hugepage_size",
      .type = VM_PROP_SIZE,
      .offset = offsetof(struct run_memory, hugepage_size),
      .help = "size of one huge page; 0: the host's default" },
    { .name = "prefault",
      .type = VM_PROP_BOOL,
      .offset = offsetof(struct run_memory, prefault),
      .help = "touch all of it before the start" },
    { .name = "thp",
      .type = VM_PROP_BOOL,
      .offset = offsetof(struct run_memory, thp),
      .preset = "on",
      .help = "ask for transparent huge pages" },
    { .name = "host_numa_node",
      .type = VM_PROP_LIST,
      .offset = offsetof(struct run_memory, node),
      .element = VM_PROP_U32,
      .max = 1,
      .help = "take it from this NUMA node of the host only" },
    { 0 },
};
static const struct vm_prop payload_props[] = {
    { .name = "kernel",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct run_payload, kernel),
      .help = "bzImage (vmlinuz) or ELF (vmlinux); AArch64: Image, also gzip, zstd, vmlinuz.efi" },
    { .name = "initramfs",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct run_payload, initramfs),
      .help = "initial RAM file system" },
    { .name = "cmdline",
      .type = VM_PROP_STRING,
      .offset = offsetof(struct run_payload, cmdline),
      .max = 65535,
      .help = "kernel command line" },
    { .name = "device_tree_overlay",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct run_payload, overlay),
      .help = "changes to the device tree (dtc -@ -O dtb); AArch64" },
    { 0 },
};
static const struct vm_prop platform_props[] = {
    { .name = "num_pci_segments",
      .type = VM_PROP_U32,
      .offset = offsetof(struct run_platform, num_pci_segments),
      .preset = "1",
      .min = 1,
      .max = 16,
      .help = "PCI segments" },
    { .name = "machine",
      .type = VM_PROP_U32,
      .offset = offsetof(struct run_platform, machine),
      .max = 1,
      .help = "version of the machine a guest sees; 0 is the newest" },
    { 0 },
};

#define ROOT(n, t, member) .name = (n), .type = (t), .offset = offsetof(struct run_config, member)
static const struct vm_prop root_props[] = {
    { ROOT("cpus", VM_PROP_OBJECT, cpus), .props = cpus_props, .help = "processors" },
    { ROOT("memory", VM_PROP_OBJECT, memory), .props = memory_props, .help = "guest memory" },
    { ROOT("payload", VM_PROP_OBJECT, payload), .props = payload_props, .help = "what to boot" },
    { ROOT("params", VM_PROP_LIST, params), .element = VM_PROP_STRING,
      .help = "more words for the kernel command line" },
    { ROOT("platform", VM_PROP_OBJECT, platform), .props = platform_props,
      .help = "the machine itself" },
    { ROOT("acpi", VM_PROP_BOOL, acpi), .preset = "on",
      .help = "describe the machine by ACPI tables" },
    { ROOT("pci", VM_PROP_BOOL, pci), .preset = "on",
      .help = "a PCI bus; off puts virtio devices on virtio-mmio" },
    { ROOT("pci_cam", VM_PROP_BOOL, cam),
      .help = "PCI configuration by ports 0xcf8 and 0xcfc too" },
    { ROOT("rng_device", VM_PROP_BOOL, rng_on), .preset = "on", .help = "a virtio-rng device" },
    { ROOT("rtc", VM_PROP_BOOL, rtc), .preset = "on", .help = "a real-time clock" },
    { ROOT("debug_ports", VM_PROP_BOOL, debug_ports),
      .help = "collect what the guest writes to ports 0x80 and 0x402" },
    { ROOT("pit", VM_PROP_BOOL, pit), .help = "PIT and PICs, with irqchip kernel" },
    { ROOT("irqchip", VM_PROP_ENUM, irqchip), .values = irqchips, .preset = "default",
      .help = "interrupt controller; x86_64: I/O APIC of ours (split) or the kernel's; AArch64: "
              "gicv3 or gicv2" },
    { ROOT("api_socket", VM_PROP_PATH, socket), .max = 107,
      .help = "control socket; a directory gets a name by pid" },
    { ROOT("sandbox", VM_PROP_ENUM, sandbox), .values = sandboxes, .preset = "process",
      .help = "each device in a jailed process of its own, or all on threads of this one; off: "
              "threads without filters" },
    { ROOT("seccomp", VM_PROP_ENUM, seccomp), .values = actions, .preset = "trap",
      .help = "what a system call that no filter allows ends in: kill, trap (the same, but its "
              "name is told), log (it is carried out)" },
    { ROOT("seccomp_policy_dir", VM_PROP_PATH, policy_dir),
      .help = "directory of filters in place of the built-in ones: ARCHITECTURE/NAME.policy" },
    { ROOT("log_level", VM_PROP_ENUM, log_level), .values = levels, .preset = "warn",
      .help = "what is told on standard error" },
    { ROOT("devices", VM_PROP_VARIANTS, devices), .help = "further devices, by class" },
};

/* Rows whose table is a class's. */
static const struct {
    const char *cls;
    struct vm_prop row;
} parts[RUN_PARTS] = {
    [RUN_SERIAL] = { NULL, /* the architecture's */
                     { .name = "serial", .type = VM_PROP_OBJECT, .help = "first serial port" } },
    [RUN_SERIAL1] = { NULL,
                      { .name = "serial1",
                        .type = VM_PROP_OBJECT,
                        .help = "second serial port; there with those before it if it is on" } },
    [RUN_SERIAL2] = { NULL,
                      { .name = "serial2", .type = VM_PROP_OBJECT, .help = "third serial port" } },
    [RUN_SERIAL3] = { NULL,
                      { .name = "serial3", .type = VM_PROP_OBJECT, .help = "fourth serial port" } },
    [RUN_CONSOLE] = { "virtio-console",
                      { .name = "console", .type = VM_PROP_OBJECT, .help = "virtio console" } },
    [RUN_RNG] = { "virtio-rng",
                  { .name = "rng", .type = VM_PROP_OBJECT, .help = "entropy device" } },
    [RUN_BALLOON] = { "virtio-balloon",
                      { .name = "balloon",
                        .type = VM_PROP_OBJECTS,
                        .max = 1,
                        .help = "memory balloon" } },
    [RUN_DISKS] = { "virtio-blk",
                    { .name = "disks", .type = VM_PROP_OBJECTS, .help = "virtio disks" } },
    [RUN_NETS] = { "virtio-net",
                   { .name = "net", .type = VM_PROP_OBJECTS, .help = "network devices" } },
    [RUN_FS] = { "vhost-user",
                 { .name = "fs",
                   .type = VM_PROP_OBJECTS,
                   .help = "file systems that other programs share" } },
    [RUN_VSOCK] = { "virtio-vsock",
                    { .name = "vsock",
                      .type = VM_PROP_OBJECT,
                      .help = "sockets between guest and host" } },
};

static bool class_at(void *ctx, size_t index, struct vm_prop_class *ret_class)
{
    size_t n = 0;

    (void)ctx;
    for (const struct vdev_class *const *c = vdev_classes; *c; c++) {
        if ((*c)->internal || n++ != index)
            continue;
        *ret_class =
            (struct vm_prop_class){ (*c)->name, (*c)->summary, (*c)->props, (*c)->config_size };
        return true;
    }
    return false;
}

static size_t align(size_t n)
{
    return (n + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
}

static const struct vdev_class *find(const char *name)
{
    return vdev_class_find(name, strlen(name));
}

/* What this architecture, or this build, does not have is off by default. */
static void settle_preset(struct vm_prop *row)
{
    bool missing = (!strcmp(row->name, "rtc") && !find(varch_facts.clock_class)) ||
                   (!strcmp(row->name, "acpi") && !varch_facts.acpi);

    if (missing)
        row->preset = "off";
}

static int make_part(struct run_part *part, enum run_part_id id, const struct vdev_class *cls)
{
    *part = (struct run_part){ .cls = cls, .props = cls->props, .size = cls->config_size };
    return id == RUN_DISKS || id == RUN_NETS ? vmm_typed_table(part)
           : id == RUN_FS                    ? vmm_typed_fs_table(part)
                                             : 0;
}

int vmm_run_model_new(struct run_model *m)
{
    size_t n = VM_ARRAY_SIZE(root_props);

    memset(m, 0, sizeof(*m));
    m->props = calloc(n + RUN_PARTS + 1, sizeof(*m->props));
    if (!m->props)
        return vm_fail(-ENOMEM, "out of memory");
    memcpy(m->props, root_props, sizeof(root_props));
    for (size_t i = 0; i < n; i++)
        settle_preset(&m->props[i]);
    m->size = sizeof(struct run_config);
    for (unsigned i = 0; i < RUN_PARTS; i++) {
        const struct vdev_class *cls = find(parts[i].cls ? parts[i].cls : varch_facts.serial_class);
        struct vm_prop *row = &m->props[n];
        int rc;

        if (!cls)
            continue;
        rc = make_part(&m->part[i], (enum run_part_id)i, cls);
        if (rc) {
            m->part[i] = (struct run_part){ 0 };
            vmm_run_model_free(m);
            return rc;
        }
        *row = parts[i].row;
        row->props = m->part[i].props;
        row->offset = m->part[i].offset = m->size = align(m->size);
        row->element_size = row->type == VM_PROP_OBJECTS ? m->part[i].size : 0;
        m->size += row->type == VM_PROP_OBJECTS ? sizeof(struct vm_prop_list) : m->part[i].size;
        n++;
    }
    m->classes.at = class_at;
    m->model = (struct vmm_config_model){ m->props, &m->classes };
    return 0;
}

void vmm_run_model_free(struct run_model *m)
{
    for (unsigned i = 0; i < RUN_PARTS; i++)
        if (m->part[i].cls && m->part[i].props != m->part[i].cls->props)
            free((void *)(uintptr_t)m->part[i].props);
    free(m->props);
    m->props = NULL;
}

struct run_config *vmm_run_config_new(const struct run_model *m)
{
    struct run_config *c = calloc(1, m->size);

    if (!c) {
        vm_fail(-ENOMEM, "out of memory");
        return NULL;
    }
    if (vm_prop_defaults(m->props, c)) {
        vmm_run_config_free(m, c);
        return NULL;
    }
    return c;
}

void vmm_run_config_free(const struct run_model *m, struct run_config *c)
{
    if (c)
        vm_prop_free(m->props, c);
    free(c);
}

/* What can be said before the host is asked. */
static int check_memory(const struct run_memory *m)
{
    uint64_t huge = m->hugepage_size;

    if (m->size % GM_PAGE_BYTES)
        return vm_fail(-EINVAL, "--memory: size=%llu is not a multiple of the page size %d",
                       (unsigned long long)m->size, GM_PAGE_BYTES);
    if (huge && !m->hugepages)
        return vm_fail(-EINVAL,
                       "--memory: hugepage_size=%llu without hugepages=on: add that, or "
                       "leave it out",
                       (unsigned long long)huge);
    if (huge && (!vm_is_pow2(huge) || huge < GM_PAGE_BYTES))
        return vm_fail(
            -EINVAL,
            "--memory: hugepage_size=%llu is not a power of two of at least 4096 (sizes of "
            "this host: /sys/kernel/mm/hugepages)",
            (unsigned long long)huge);
    if (huge && m->size % huge)
        return vm_fail(-EINVAL, "--memory: size=%llu is not a multiple of hugepage_size=%llu",
                       (unsigned long long)m->size, (unsigned long long)huge);
    return 0;
}

static int check_pci(const struct run_config *c)
{
    if (c->pci)
        return 0;
    if (c->cam)
        return vm_fail(-EINVAL, "--pci off with --pci-cam on: there is no PCI bus to configure; "
                                "leave one of them out");
    if (c->platform.num_pci_segments > 1)
        return vm_fail(-EINVAL,
                       "--pci off with --platform num_pci_segments=%u: there is no PCI bus; leave "
                       "one of them out",
                       c->platform.num_pci_segments);
    return 0;
}

int vmm_run_config_check(const struct run_config *c, bool needs_kernel)
{
    int rc;

    if (needs_kernel && !c->payload.kernel)
        return vm_fail(
            -EINVAL, "no kernel: give its path, as in: vmm run KERNEL (vmm run --help tells more)");
    if (c->cpus.max && c->cpus.max < c->cpus.boot)
        return vm_fail(-EINVAL, "--cpus: max=%u is less than boot=%u", c->cpus.max, c->cpus.boot);
    if (c->cpus.max > c->cpus.boot)
        return vm_fail(
            -EINVAL, "--cpus: max=%u: vCPUs cannot be plugged in yet; give max=%u or leave it out",
            c->cpus.max, c->cpus.boot);
    if (c->sandbox == RUN_SANDBOX_OFF && c->policy_dir)
        return vm_fail(-EINVAL, "--seccomp-policy-dir with --sandbox off: there are no filters; "
                                "leave one of them out");
    rc = check_pci(c);
    return rc ? rc : check_memory(&c->memory);
}
