/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A model like that of a virtual machine, for the tests and fuzz targets of this library. */
#ifndef VMM_CONFIG_SRC_SAMPLE_H
#define VMM_CONFIG_SRC_SAMPLE_H

#include <vmm/base/util.h>
#include <vmm/config/model.h>

struct sample_disk {
    char *path;
    bool readonly;
    char *id;
    uint64_t serial;
};

struct sample_serial {
    uint32_t mode;
    char *file;
};

struct sample {
    struct {
        uint32_t boot, max;
        struct vm_prop_list features;
    } cpus;
    struct {
        uint64_t size;
        bool shared;
        struct vm_prop_list node;
    } memory;
    struct {
        char *kernel, *cmdline, *initramfs;
    } payload;
    struct sample_serial serial;
    struct {
        char *socket;
        uint32_t version;
    } tpm;
    bool sandbox;
    int console_fd;
    struct vm_prop_list disks, devices, tags;
};

static const char *const sample_modes[] = { "off", "tty", "file", NULL };
static const char *const sample_modes_ch[] = { "Off", "Tty", "File", NULL };

#define SAMPLE_AT(member) .offset = offsetof(struct sample, member)
#define SAMPLE_IN(outer, member) \
    .offset = offsetof(struct sample, outer.member) - offsetof(struct sample, outer)

static const struct vm_prop sample_cpus[] = {
    { .name = "num",
      .type = VM_PROP_U32,
      SAMPLE_IN(cpus, boot),
      .preset = "1",
      .min = 1,
      .max = 255,
      .alias_ch = "boot_vcpus",
      .help = "vCPUs at start" },
    { .name = "max",
      .type = VM_PROP_U32,
      SAMPLE_IN(cpus, max),
      .max = 255,
      .alias_ch = "max_vcpus",
      .help = "most vCPUs" },
    { .name = "features",
      .type = VM_PROP_LIST,
      SAMPLE_IN(cpus, features),
      .element = VM_PROP_STRING,
      .help = "CPU features" },
    { 0 },
};
static const struct vm_prop sample_memory[] = {
    { .name = "size",
      .type = VM_PROP_SIZE,
      SAMPLE_IN(memory, size),
      .preset = "256M",
      .min = 1 << 20,
      .help = "bytes of guest memory" },
    { .name = "shared", .type = VM_PROP_BOOL, SAMPLE_IN(memory, shared), .help = "others map it" },
    { .name = "node",
      .type = VM_PROP_LIST,
      SAMPLE_IN(memory, node),
      .element = VM_PROP_U32,
      .max = 1,
      .help = "host node" },
    { 0 },
};
static const struct vm_prop sample_payload[] = {
    { .name = "kernel", .type = VM_PROP_PATH, SAMPLE_IN(payload, kernel), .help = "kernel image" },
    { .name = "cmdline",
      .type = VM_PROP_STRING,
      SAMPLE_IN(payload, cmdline),
      .alias_crosvm = "params",
      .help = "kernel command line" },
    { .name = "initramfs", .type = VM_PROP_PATH, SAMPLE_IN(payload, initramfs), .help = "initrd" },
    { 0 },
};
static const struct vm_prop sample_serial[] = {
    { .name = "mode",
      .type = VM_PROP_ENUM,
      .offset = offsetof(struct sample_serial, mode),
      .values = sample_modes,
      .values_ch = sample_modes_ch,
      .preset = "tty",
      .help = "where it goes" },
    { .name = "file",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct sample_serial, file),
      .help = "file of mode=file" },
    { 0 },
};
static const struct vm_prop sample_tpm[] = {
    { .name = "socket",
      .type = VM_PROP_PATH,
      SAMPLE_IN(tpm, socket),
      .required = true,
      .help = "socket of swtpm" },
    { .name = "version", .type = VM_PROP_U32, SAMPLE_IN(tpm, version), .help = "version" },
    { 0 },
};
static const struct vm_prop sample_disk[] = {
    { .name = "path",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct sample_disk, path),
      .required = true,
      .help = "image file" },
    { .name = "readonly",
      .type = VM_PROP_BOOL,
      .offset = offsetof(struct sample_disk, readonly),
      .alias_crosvm = "ro",
      .help = "the guest cannot write" },
    { .name = "id",
      .type = VM_PROP_STRING,
      .offset = offsetof(struct sample_disk, id),
      .max = 20,
      .help = "name of the disk" },
    { .name = "serial",
      .type = VM_PROP_U64,
      .offset = offsetof(struct sample_disk, serial),
      .help = "serial number" },
    { 0 },
};
static const struct vm_prop sample_props[] = {
    { .name = "cpus", .type = VM_PROP_OBJECT, SAMPLE_AT(cpus), .props = sample_cpus },
    { .name = "memory", .type = VM_PROP_OBJECT, SAMPLE_AT(memory), .props = sample_memory },
    { .name = "payload", .type = VM_PROP_OBJECT, SAMPLE_AT(payload), .props = sample_payload },
    { .name = "serial", .type = VM_PROP_OBJECT, SAMPLE_AT(serial), .props = sample_serial },
    { .name = "tpm", .type = VM_PROP_OBJECT, SAMPLE_AT(tpm), .props = sample_tpm },
    { .name = "sandbox", .type = VM_PROP_BOOL, SAMPLE_AT(sandbox), .preset = "on", .help = "jail" },
    { .name = "console_fd", .type = VM_PROP_FD, SAMPLE_AT(console_fd), .help = "open console" },
    { .name = "disks",
      .type = VM_PROP_OBJECTS,
      SAMPLE_AT(disks),
      .props = sample_disk,
      .element_size = sizeof(struct sample_disk),
      .max = 4,
      .help = "disks" },
    { .name = "devices", .type = VM_PROP_VARIANTS, SAMPLE_AT(devices), .help = "other devices" },
    { .name = "tags",
      .type = VM_PROP_LIST,
      SAMPLE_AT(tags),
      .element = VM_PROP_STRING,
      .max = 4,
      .help = "free words" },
    { 0 },
};

static const struct vm_prop_class sample_class_rows[] = {
    { "virtio-rng", "entropy for the guest", sample_serial, sizeof(struct sample_serial) },
    { "virtio-blk", "a disk", sample_disk, sizeof(struct sample_disk) },
};

static bool sample_class_at(void *ctx, size_t index, struct vm_prop_class *ret_class)
{
    (void)ctx;
    if (index >= VM_ARRAY_SIZE(sample_class_rows))
        return false;
    *ret_class = sample_class_rows[index];
    return true;
}

static const struct vmm_config_classes sample_classes = { .at = sample_class_at,
                                                          .implied = "virtio-blk" };
static const struct vmm_config_model sample_model = { sample_props, &sample_classes };

/* ctx is an int that becomes 1; a value "stop" ends with 7. */
static int sample_call(void *ctx, const struct vmm_option *option, const char *value)
{
    (void)option;
    *(int *)ctx = 1;
    return value && value[0] == 's' ? 7 : 0;
}

static const struct vmm_option sample_options[] = {
    { .name = "memory",
      .letter = 'm',
      .path = "memory",
      .argument = "SIZE|KEY=VALUE,...",
      .first = "size",
      .unit = 1 << 20,
      .alias_crosvm = "mem",
      .help = "guest memory; a bare number is MiB",
      .group = "Machine" },
    { .name = "cpus",
      .letter = 'c',
      .path = "cpus",
      .argument = "N|KEY=VALUE,...",
      .first = "num",
      .help = "virtual CPUs" },
    { .name = "memory-size",
      .path = "memory.size",
      .argument = "SIZE",
      .unit = 1 << 20,
      .help = "guest memory" },
    { .name = "cmdline",
      .letter = 'p',
      .path = "payload.cmdline",
      .argument = "TEXT",
      .alias_crosvm = "params",
      .help = "kernel command line" },
    { .name = "initrd",
      .letter = 'i',
      .path = "payload.initramfs",
      .argument = "PATH",
      .alias_ch = "initramfs",
      .help = "initial RAM disk" },
    { .name = "disk",
      .letter = 'd',
      .path = "disks",
      .argument = "PATH|KEY=VALUE,...",
      .first = "path",
      .many = true,
      .help = "a disk",
      .group = "Devices" },
    { .name = "rodisk",
      .path = "disks",
      .argument = "PATH",
      .first = "path",
      .fixed = "readonly=on",
      .help = "a disk that the guest cannot write" },
    { .name = "device",
      .path = "devices",
      .argument = "CLASS,KEY=VALUE,...",
      .many = true,
      .help = "any other device" },
    { .name = "serial",
      .path = "serial",
      .argument = "MODE",
      .first = "mode",
      .help = "serial port" },
    { .name = "no-serial", .path = "serial", .fixed = "mode=off", .help = "no serial port" },
    { .name = "console-fd", .path = "console_fd", .argument = "FD", .help = "open console" },
    { .name = "tag", .letter = 't', .path = "tags", .argument = "TEXT", .help = "a free word" },
    { .name = "sandbox", .path = "sandbox", .argument = "on|off", .help = "jail on or off" },
    { .name = "jail", .letter = 'J', .path = "sandbox", .help = "jail on" },
    { .name = "disable-sandbox",
      .letter = 'S',
      .path = "sandbox",
      .fixed = "off",
      .help = "jail off" },
    { .name = "config", .argument = "FILE", .call = sample_call, .help = "read a file" },
    { 0 },
};

static const struct vmm_option sample_operands[] = {
    { .name = "KERNEL", .path = "payload.kernel", .help = "kernel image" },
    { 0 },
};

static const struct vmm_option sample_stop_operands[] = {
    { .name = "SOCKET", .call = sample_call, .required = true, .help = "control socket" },
    { .name = "WORD", .call = sample_call, .many = true, .required = true, .help = "words" },
    { 0 },
};

static const struct vmm_command sample_commands[] = {
    { .name = "vmm run",
      .summary = "start a virtual machine",
      .text = "First paragraph.\n\n.Second one's \\ text.",
      .options = sample_options,
      .operands = sample_operands,
      .model = &sample_model },
    { .name = "vmm stop", .summary = "stop it", .operands = sample_stop_operands },
    { 0 },
};

#define sample_run  sample_commands[0]
#define sample_stop sample_commands[1]

static const struct vmm_program sample_program = { "vmm", "1.2", "virtual machine monitor",
                                                   sample_commands };

#endif
