/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The options of vmm run: crosvm's short ones and cloud-hypervisor's long ones on the same properties. */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/config/args.h>
#include <vmm/config/json.h>

enum { MIB = 1 << 20 };

static int option_config(void *ctx, const struct vmm_option *option, const char *value)
{
    (void)option;
    return vmm_options_load_config(ctx, value);
}

static int option_print(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    (void)value;
    s->print_config = true;
    return 0;
}

#define CONNECTS "it would connect to who listens there; socket=PATH listens by itself"
#define INPUT    "bytes come in by tty, by pty, and from a client of socket=PATH"
#define CMDLINE  "what the guest's kernel makes of it is --cmdline's or -p's: leave it out"
/* crosvm counts serial ports from 1; its guests' ttyS0 is num=1. Of its other words those that mean the same here. */
static const struct vmm_option_pick serial_picks[] = {
    { .item = "num=1" },
    { .item = "num=2", .path = "serial1" },
    { .item = "num=3", .path = "serial2" },
    { .item = "num=4", .path = "serial3" },
    { .item = "hardware=serial" },
    { .item = "hardware=virtio-console", .path = "console" },
    { .item = "type=sink", .instead = "mode=null" },
    { .item = "type=stdout",
      .why = "it would write only; tty writes to standard output and reads standard input" },
    { .item = "type=syslog", .why = "there is no such place here: give file=PATH" },
    { .item = "type=unix", .why = CONNECTS },
    { .item = "type=unix-stream", .why = CONNECTS },
    { .item = "stdin=", .why = "tty reads standard input by itself: leave it out" },
    { .item = "input=", .why = INPUT },
    { .item = "input-unix-stream=", .why = INPUT },
    { .item = "console=", .why = CMDLINE },
    { .item = "earlycon=", .why = CMDLINE },
    { .item = "name=",
      .why = "a port of a console has a name: --console MODE,ports=[[name=NAME,...]]" },
    { 0 },
};

/* --rng on, off, or where it gets its bytes from. */
static int option_rng(void *ctx, const struct vmm_option *option, const char *value)
{
    static const struct vmm_option keys = {
        .name = "rng", .path = "rng", .first = "src", .argument = "FILE", .help = "entropy device"
    };
    struct session *s = ctx;
    struct vm_buffer text = { 0 };
    int rc;

    (void)option;
    if (!strcmp(value, "on") || !strcmp(value, "off")) {
        s->config->rng_on = !strcmp(value, "on");
        return 0;
    }
    rc = vmm_config_apply(&s->model.model, &keys, s->config, "--rng", value, &text);
    if (rc > 0) {
        vmm_command_print((const char *)text.data, text.len);
        rc = VMM_CONFIG_HELP;
    }
    vm_buffer_free(&text);
    return rc;
}

/* The operand and the option say the same: a second kernel is a word that belongs elsewhere. */
int vmm_options_kernel(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;
    char *path;

    (void)option;
    if (s->kernel)
        return vm_fail(-EINVAL, "two kernels, %s and %s: give one", s->kernel, value);
    path = strdup(value);
    if (!path)
        return vm_fail(-ENOMEM, "out of memory");
    free(s->config->payload.kernel);
    s->config->payload.kernel = path;
    s->kernel = value;
    return 0;
}

static int option_root(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    if (s->root)
        return vm_fail(-EINVAL, "two root disks, %s and %s: give one, and the other by --rodisk",
                       s->root, value);
    s->root = value;
    return 0;
}

int vmm_options_apply(struct session *s, const struct vmm_option *keys, const char *what,
                      const char *value)
{
    struct vm_buffer text = { 0 };
    int rc = vmm_config_apply(&s->model.model, keys, s->config, what, value, &text);

    if (rc > 0) {
        vmm_command_print((const char *)text.data, text.len);
        rc = VMM_CONFIG_HELP;
    }
    vm_buffer_free(&text);
    return rc;
}

/* --vhost-user TYPE,KEY=VALUE is --device vhost-user,type=TYPE,KEY=VALUE. */
static int option_vhost_user(void *ctx, const struct vmm_option *option, const char *value)
{
    static const struct vmm_option keys = { .name = "vhost-user", .path = "devices", .many = true };
    const char *head = strcmp(value, "help") ? "vhost-user,type=" : "vhost-user,";
    struct vm_buffer text = { 0 }, out = { 0 };
    struct session *s = ctx;
    int rc = vm_buffer_add(&text, head, strlen(head));

    (void)option;
    if (!rc)
        rc = vm_buffer_add(&text, value, strlen(value) + 1);
    rc = rc ? vm_fail(rc, "out of memory")
            : vmm_config_apply(&s->model.model, &keys, s->config, "--vhost-user",
                               (const char *)text.data, &out);
    if (rc > 0) {
        vmm_command_print((const char *)out.data, out.len);
        rc = VMM_CONFIG_HELP;
    }
    vm_buffer_free(&text);
    vm_buffer_free(&out);
    return rc;
}

/* As crosvm's: the last disk becomes the first, so that it is vda whatever stands before it on the command line. */
int vmm_options_settle_root(struct session *s)
{
    static const struct vmm_option disk = {
        .name = "root", .path = "disks", .first = "path", .fixed = "readonly=on", .argument = "FILE"
    };
    static const struct vmm_option words = { .name = "params",
                                             .path = "params",
                                             .argument = "TEXT" };
    struct vm_prop_list *disks = run_part_of(&s->model, s->config, RUN_DISKS);
    size_t size = s->root ? s->model.part[RUN_DISKS].size : 0;
    char *items, *last;
    int rc;

    if (!s->root)
        return 0;
    rc = vmm_options_apply(s, &disk, "--root", s->root);
    if (!rc)
        rc = vmm_options_apply(s, &words, "--root", "root=/dev/vda ro");
    last = rc ? NULL : malloc(size);
    if (!last)
        return rc ? rc : vm_fail(-ENOMEM, "out of memory");
    items = disks->items;
    memcpy(last, items + (disks->count - 1) * size, size);
    memmove(items + size, items, (disks->count - 1) * size);
    memcpy(items, last, size);
    free(last);
    return 0;
}

const struct vmm_option vmm_options_run[] = {
    { .group = "Machine",
      .name = "cpus",
      .letter = 'c',
      .path = "cpus",
      .first = "boot",
      .argument = "N|boot=N",
      .help = "virtual CPUs" },
    { .name = "memory",
      .letter = 'm',
      .path = "memory",
      .first = "size",
      .unit = MIB,
      .argument = "MIB|size=SIZE",
      .alias_crosvm = "mem",
      .help = "guest memory; a bare number is MiB" },
    { .name = "platform",
      .path = "platform",
      .argument = "KEY=VALUE",
      .help = "PCI segments and machine version" },
    { .name = "machine",
      .path = "platform.machine",
      .argument = "N",
      .help = "version of the machine a guest sees, as --platform machine=N" },
    { .name = "acpi", .path = "acpi", .argument = "on|off", .help = "ACPI tables" },
    { .name = "pci",
      .path = "pci",
      .argument = "on|off",
      .help = "PCI bus; off puts virtio devices on virtio-mmio" },
    { .name = "pci-cam",
      .path = "pci_cam",
      .argument = "on|off",
      .help = "PCI configuration by ports too" },
    { .name = "irqchip",
      .path = "irqchip",
      .argument = "split|kernel|gicv3|gicv2",
      .help = "who is the interrupt controller; if not given: split, on Arm the newest GIC "
              "that the host has" },
    { .name = "rtc", .path = "rtc", .argument = "on|off", .help = "real-time clock" },
    { .name = "pit",
      .path = "pit",
      .argument = "on|off",
      .help = "PIT and PICs, with --irqchip kernel" },
    { .name = "debug-ports",
      .path = "debug_ports",
      .argument = "on|off",
      .help = "ports 0x80 and 0x402" },
    { .group = "Payload",
      .name = "kernel",
      .call = vmm_options_kernel,
      .path = "payload.kernel",
      .argument = "FILE",
      .help = "kernel, as the operand" },
    { .name = "initramfs",
      .letter = 'i',
      .path = "payload.initramfs",
      .argument = "FILE",
      .alias_crosvm = "initrd",
      .help = "initial RAM file system" },
    { .name = "cmdline",
      .path = "payload.cmdline",
      .argument = "TEXT",
      .help = "kernel command line, taken as it is (default: console=...)" },
    { .name = "device-tree-overlay",
      .path = "payload.device_tree_overlay",
      .argument = "FILE",
      .help = "changes to the device tree (AArch64)" },
    { .name = "params",
      .letter = 'p',
      .path = "params",
      .argument = "TEXT",
      .help = "more words for the kernel command line" },
    { .group = "Devices",
      .name = "disk",
      .letter = 'd',
      .path = "disks",
      .first = "path",
      .many = true,
      .argument = "FILE|path=FILE,...",
      .help = "a disk, also one that another program serves (vhost_user=on,socket= or program=)" },
    { .name = "root",
      .letter = 'r',
      .call = option_root,
      .path = "disks",
      .first = "path",
      .argument = "FILE",
      .help = "a read-only disk, the first, as the kernel's root: adds root=/dev/vda ro" },
    { .name = "rwdisk",
      .path = "disks",
      .first = "path",
      .fixed = "readonly=off",
      .argument = "FILE|path=FILE,...",
      .help = "a writable disk" },
    { .name = "rodisk",
      .path = "disks",
      .first = "path",
      .fixed = "readonly=on",
      .argument = "FILE",
      .help = "a read-only disk" },
    { .name = "net",
      .path = "net",
      .first = "mode",
      .many = true,
      .argument = "user|tap=NAME|fd=N|socket=PATH,...",
      .help = "a network device, also one that another program serves (vhost_user=on,socket= or "
              "program=)" },
    { .name = "tap-name",
      .path = "net",
      .first = "tap",
      .many = true,
      .argument = "NAME|tap=NAME,...",
      .help = "a network device with this tap interface, as --net tap=NAME" },
    { .name = "tap-fd",
      .path = "net",
      .first = "fd",
      .many = true,
      .argument = "N|fd=N,...",
      .help = "a network device with this open tap interface, as --net fd=N" },
    { .name = "host-ip",
      .call = vmm_options_host_ip,
      .argument = "ADDRESS",
      .help = "with --netmask and --mac: a network device with a tap interface that has this "
              "address, named by the MAC address" },
    { .name = "netmask",
      .call = vmm_options_netmask,
      .argument = "MASK",
      .help = "the interface's network mask, with --host-ip and --mac" },
    { .name = "mac",
      .call = vmm_options_mac,
      .argument = "MAC",
      .help = "the guest's MAC address, with --host-ip and --netmask" },
    { .name = "fs",
      .path = "fs",
      .many = true,
      .argument = "tag=NAME,socket=PATH|program=TEXT",
      .help = "files of the host's that virtiofsd shares: --vhost-user fs" },
    { .name = "serial",
      .path = "serial",
      .first = "mode",
      .picks = serial_picks,
      .argument = "MODE|file=FILE,...",
      .help = "first serial port: off, null, tty, pty, file=, socket=; num=2 to num=4: a further "
              "one; hardware=virtio-console: --console" },
    { .name = "serial1",
      .path = "serial1",
      .first = "mode",
      .argument = "MODE|file=FILE",
      .help = "second serial port, as --serial num=2" },
    { .name = "serial2",
      .path = "serial2",
      .first = "mode",
      .argument = "MODE|file=FILE",
      .help = "third serial port, as --serial num=3" },
    { .name = "serial3",
      .path = "serial3",
      .first = "mode",
      .argument = "MODE|file=FILE",
      .help = "fourth serial port, as --serial num=4" },
    { .name = "console",
      .path = "console",
      .first = "mode",
      .argument = "MODE|file=FILE",
      .help = "virtio console, likewise" },
    { .name = "rng",
      .call = option_rng,
      .argument = "on|off|src=FILE",
      .help = "entropy device, and where it gets its bytes (keys: --rng help)" },
    { .name = "balloon",
      .path = "balloon",
      .first = "size",
      .many = true,
      .unit = MIB,
      .argument = "SIZE|size=SIZE,...",
      .help = "memory balloon; a bare number is MiB" },
    { .name = "no-rng", .path = "rng_device", .fixed = "off", .help = "no entropy device" },
    { .name = "vsock",
      .path = "vsock",
      .argument = "cid=N,socket=PATH",
      .help = "sockets between guest and host: programs of the host connect to PATH" },
    { .name = "cid",
      .path = "vsock.cid",
      .argument = "N",
      .help = "the guest's address, as --vsock cid=N" },
    { .name = "device",
      .path = "devices",
      .many = true,
      .argument = "CLASS,KEY=VALUE",
      .help = "any device, of a class and with its keys" },
    { .name = "vhost-user",
      .call = option_vhost_user,
      .many = true,
      .argument = "TYPE,socket=PATH|program=TEXT,...",
      .help = "a device that another program serves, as --device vhost-user,type=TYPE" },
    { .group = "Control",
      .name = "socket",
      .letter = 's',
      .path = "api_socket",
      .argument = "PATH",
      .alias_ch = "api-socket",
      .help = "control socket; a directory gets a name by pid" },
    { .name = "config",
      .call = option_config,
      .argument = "FILE",
      .help = "JSON with the same keys, read in place" },
    { .name = "print-config",
      .call = option_print,
      .help = "print the configuration as JSON and exit" },
    { .name = "log-level",
      .path = "log_level",
      .argument = "LEVEL",
      .help = "error, warn, info or debug" },
    OPTIONS_SANDBOX("devices in jailed processes, or on threads; off: without filters, too"),
    { 0 },
};

const struct vmm_option vmm_operands_run[] = {
    { .name = "KERNEL",
      .call = vmm_options_kernel,
      .path = "payload.kernel",
      .argument = "KERNEL",
      .help = "bzImage (vmlinuz) or ELF (vmlinux)" },
    { 0 },
};
