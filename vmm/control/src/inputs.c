/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* From the configuration to what a machine is made from: files opened, devices listed, command line put together. */
#include "run.h"
#include "typed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/arch/arch.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/file.h>
#include <vmm/char/char.h>

const char *vmm_run_chr_option(enum run_part_id id)
{
    static const char *const names[] = { "--serial", "--serial1", "--serial2", "--serial3",
                                         "--console" };

    return names[id - RUN_SERIAL];
}

/* The mode of a serial port or console. Its config struct begins with struct vdev_common, then struct vchar_config. */
struct chr_config {
    struct vdev_common common;
    struct vchar_config chr;
};

struct vchar_config *vmm_run_chr_of(const struct run_inputs *in, enum run_part_id id)
{
    struct chr_config *c = run_part_of(in->model, in->config, id);

    return c ? &c->chr : NULL;
}

static bool is_on(const struct vchar_config *c)
{
    return c && c->mode != VCHAR_OFF && c->mode != VCHAR_AUTO;
}

static bool on_tty(const struct vm_prop *props, const void *config);

static bool any_on_tty(const struct vm_prop *prop, const struct vm_prop_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (on_tty(prop->props, (const char *)list->items + i * prop->element_size))
            return true;
    return false;
}

/* One of the character back ends of a device, and of their sinks, is the terminal. */
static bool on_tty(const struct vm_prop *props, const void *config)
{
    for (; props && props->name; props++) {
        const void *place = (const char *)config + props->offset;

        if (props->type == VM_PROP_ENUM && props->values == vchar_modes &&
            *(const uint32_t *)place == VCHAR_TTY)
            return true;
        if (props->type == VM_PROP_OBJECTS && any_on_tty(props, place))
            return true;
    }
    return false;
}

static bool part_on_tty(const struct run_inputs *in, enum run_part_id id)
{
    const void *config = run_part_of(in->model, in->config, id);

    return config && on_tty(in->model->part[id].cls->props, config);
}

/* A device of --device that is on the terminal; NULL: none. */
static const struct vm_prop_variant *other_on_terminal(const struct run_config *c, uint32_t from)
{
    const struct vm_prop_variant *v = c->devices.items;

    for (uint32_t i = from; i < c->devices.count; i++) {
        const struct vdev_class *cls =
            vdev_class_find(v[i].class_row.name, strlen(v[i].class_row.name));

        if (cls && on_tty(cls->props, v[i].object))
            return &v[i];
    }
    return NULL;
}

/* A console whose further ports alone are asked for. */
static bool has_ports(const struct run_inputs *in, enum run_part_id id)
{
    const struct vm_prop *p =
        vm_prop_find(in->model->part[id].cls->props, "ports", strlen("ports"));
    const char *config = run_part_of(in->model, in->config, id);

    return p && ((const struct vm_prop_list *)(const void *)(config + p->offset))->count;
}

/* A first boot must show something: without any console option the serial port is the terminal. */
static void settle_consoles(struct run_inputs *in)
{
    bool taken = other_on_terminal(in->config, 0) || part_on_tty(in, RUN_SERIAL);
    struct vchar_config *serial = vmm_run_chr_of(in, RUN_SERIAL), *c;
    bool other = false; /* one is not as by default */

    for (unsigned id = RUN_SERIAL; id <= RUN_CONSOLE; id++) {
        c = vmm_run_chr_of(in, id);
        if (c && c->mode == VCHAR_AUTO && (c->file || c->socket))
            c->mode = c->file ? VCHAR_FILE : VCHAR_SOCKET;
        if (c && id != RUN_SERIAL) {
            /* A serial port further on that is in a file leaves the first one what it was. */
            other = other || (c->mode != VCHAR_AUTO && id == RUN_CONSOLE) || part_on_tty(in, id);
            if (c->mode == VCHAR_AUTO)
                c->mode = has_ports(in, id) ? VCHAR_NULL : VCHAR_OFF;
        }
    }
    if (serial && serial->mode == VCHAR_AUTO)
        serial->mode = taken || other ? VCHAR_OFF : VCHAR_TTY;
}

/* Who is on the terminal, as the user wrote it; how many are. */
static unsigned on_terminal(const struct run_inputs *in, char (*ret_who)[64])
{
    const struct vm_prop_variant *v = in->config->devices.items, *dev;
    unsigned n = 0;

    for (unsigned id = RUN_SERIAL; n < 2 && id <= RUN_CONSOLE; id++) {
        if (part_on_tty(in, id))
            snprintf(ret_who[n++], sizeof(*ret_who), "%s tty", vmm_run_chr_option(id));
    }
    for (uint32_t i = 0; n < 2 && (dev = other_on_terminal(in->config, i));
         i = (uint32_t)(dev - v) + 1)
        snprintf(ret_who[n++], sizeof(*ret_who), "--device %s,mode=tty", dev->class_row.name);
    return n;
}

/* The serial port is a part of the machine: its keys are those of every device, but its place is not to be chosen. */
static int check_serial(const struct run_inputs *in, enum run_part_id id)
{
    const struct vdev_common *c = run_part_of(in->model, in->config, id);

    if (!c || (!c->id && !c->addr && !c->pci_segment && !c->placement && c->bus == VDEV_BUS_AUTO))
        return 0;
    return vm_fail(-EINVAL,
                   "%s: id, bus, addr, pci_segment and placement are for devices that are plugged "
                   "in; this one is always serial%d, at its own place: leave them out",
                   vmm_run_chr_option(id), id - RUN_SERIAL);
}

static int check_consoles(struct run_inputs *in)
{
    char who[2][64];
    unsigned n = on_terminal(in, who);
    int rc = 0;

    for (unsigned id = RUN_SERIAL; !rc && id < RUN_SERIAL + RUN_SERIALS; id++)
        rc = check_serial(in, id);
    if (rc)
        return rc;

    in->terminal = n > 0;
    if (n > 1)
        return vm_fail(-EINVAL, "%s and %s: only one of them can have the terminal", who[0],
                       who[1]);
    return 0;
}

/* Nobody means one: it comes of a file or a script's quotes, and a log or /proc/cmdline with it misleads. */
static int check_words(const char *option, const char *text)
{
    for (size_t i = 0; text[i]; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < ' ' || c == 0x7f)
            return vm_fail(-EINVAL,
                           "%s: byte %zu is a control character (0x%02x): a kernel's command line "
                           "has words and spaces only; write a space there",
                           option, i + 1, c);
    }
    return 0;
}

static int check_cmdline(const struct run_config *c)
{
    int rc = c->payload.cmdline ? check_words("--cmdline", c->payload.cmdline) : 0;

    for (uint32_t i = 0; !rc && i < c->params.count; i++)
        rc = check_words("--params", ((char **)c->params.items)[i]);
    return rc;
}

/* --cmdline is taken as it is; else the console, then what -p adds. */
static int make_cmdline(struct run_inputs *in)
{
    const struct run_config *c = in->config;
    struct vm_buffer b = { 0 };
    const char *console = is_on(vmm_run_chr_of(in, RUN_SERIAL)) ? varch_facts.console
                          : is_on(vmm_run_chr_of(in, RUN_CONSOLE)) || other_on_terminal(c, 0)
                              ? "hvc0"
                              : NULL;
    int rc = 0;

    if (c->payload.cmdline)
        rc = vm_buffer_add(&b, c->payload.cmdline, strlen(c->payload.cmdline));
    else if (console && !(rc = vm_buffer_add(&b, "console=", 8)))
        rc = vm_buffer_add(&b, console, strlen(console));
    for (uint32_t i = 0; !rc && i < c->params.count; i++) {
        const char *word = ((char **)c->params.items)[i];

        if (b.len && *word)
            rc = vm_buffer_add(&b, " ", 1);
        if (!rc)
            rc = vm_buffer_add(&b, word, strlen(word));
    }
    if (!rc)
        rc = vm_buffer_add(&b, "", 1);
    if (rc) {
        vm_buffer_free(&b);
        return vm_fail(rc, "command line: out of memory");
    }
    in->cmdline = (char *)b.data;
    in->machine.cmdline = in->cmdline;
    return 0;
}

static int open_image(const char *what, const char *path, int *ret_fd,
                      struct varch_image *ret_image)
{
    struct vm_file file; /* only to look at it: the loader makes its own */

    *ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*ret_fd < 0)
        return vm_file_fail(what, path, false);
    ret_image->name = path;
    ret_image->fd = *ret_fd;
    return vm_file_fd(path, *ret_fd, &file) ? vm_wrap(-EINVAL, "%s", what) : 0;
}

static void add_device(struct run_inputs *in, const struct vdev_class *cls, const void *config)
{
    in->devices[in->machine.device_count++] =
        (struct vmm_machine_device){ .cls = cls, .config = config };
}

/* The elements of --disk, --net and --fs. */
static int list_typed(struct run_inputs *in, enum run_part_id id,
                      int (*make)(const struct run_part *part, const void *element,
                                  struct typed_device *ret_device, void **ret_made))
{
    const struct run_part *part = &in->model->part[id];
    const struct vm_prop_list *list = run_part_of(in->model, in->config, id);

    for (uint32_t i = 0; list && i < list->count; i++) {
        struct typed_device device;
        int rc =
            make(part, (char *)list->items + i * part->size, &device, &in->made[in->made_count]);

        if (rc)
            return rc;
        in->made_count += in->made[in->made_count] ? 1 : 0;
        add_device(in, device.cls, device.config);
    }
    return 0;
}

/* It is there when one of its keys is. */
static int list_vsock(struct run_inputs *in)
{
    const struct run_part *part = &in->model->part[RUN_VSOCK];
    const void *config = run_part_of(in->model, in->config, RUN_VSOCK);
    int rc;

    if (!config || !vmm_run_part_is_set(part, config))
        return 0;
    rc = vm_prop_check(part->props, config, "--vsock");
    if (!rc)
        add_device(in, part->cls, config);
    return rc;
}

/* In the order a guest numbers them: disks first, so that the first --disk is vda whatever else there is. */
static int list_devices(struct run_inputs *in)
{
    const struct run_model *model = in->model;
    struct run_config *c = in->config;
    const struct vm_prop_list *disks = run_part_of(model, c, RUN_DISKS);
    const struct vm_prop_list *nets = run_part_of(model, c, RUN_NETS);
    const struct vm_prop_list *fs = run_part_of(model, c, RUN_FS);
    const struct vm_prop_list *balloon = run_part_of(model, c, RUN_BALLOON);
    const struct vm_prop_variant *v = c->devices.items;
    uint32_t n = (disks ? disks->count : 0) + (nets ? nets->count : 0) + (fs ? fs->count : 0);
    int rc;

    in->devices = calloc(n + c->devices.count + RUN_PARTS, sizeof(*in->devices));
    in->made = calloc(n + 1U, sizeof(*in->made));
    if (!in->devices || !in->made)
        return vm_fail(-ENOMEM, "devices: out of memory");
    rc = list_typed(in, RUN_DISKS, vmm_typed);
    if (!rc)
        rc = list_typed(in, RUN_NETS, vmm_typed);
    if (!rc)
        rc = list_typed(in, RUN_FS, vmm_typed_fs);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < c->devices.count; i++)
        add_device(in, vdev_class_find(v[i].class_row.name, strlen(v[i].class_row.name)),
                   v[i].object);
    if (c->rng_on && model->part[RUN_RNG].cls)
        add_device(in, model->part[RUN_RNG].cls, run_part_of(model, c, RUN_RNG));
    if (balloon && balloon->count)
        add_device(in, model->part[RUN_BALLOON].cls, balloon->items);
    if (is_on(vmm_run_chr_of(in, RUN_CONSOLE)))
        add_device(in, model->part[RUN_CONSOLE].cls, run_part_of(model, c, RUN_CONSOLE));
    rc = list_vsock(in);
    if (rc)
        return rc;
    in->machine.devices = in->devices;
    return 0;
}

/* A device is made again when its process has died, or is moved: what is made up for it is made up here. */
static int settle_devices(struct run_inputs *in)
{
    struct vm_env env;
    int rc = 0;

    vm_env_host(VM_LOG_WARN, &env);
    for (size_t i = 0; !rc && i < in->machine.device_count; i++) {
        const struct vdev_class *cls = in->devices[i].cls;
        void *config = (void *)(uintptr_t)in->devices[i].config; /* the run's own */

        if (cls->settle && config)
            rc = cls->settle(&env, config);
    }
    return rc;
}

static int check_fd(const char *of, const struct vm_prop *prop, int fd)
{
    if (fd < 0 || fcntl(fd, F_GETFD) >= 0)
        return 0;
    return vm_fail(-EINVAL,
                   "%s: %s=%d: this program was started without an open descriptor of that number; "
                   "a shell gives one by %d<>FILE",
                   of, prop->name, fd, fd);
}

int vmm_run_check_fds(const struct vdev_class *cls, const void *config)
{
    int rc = 0;

    for (const struct vm_prop *p = config ? cls->props : NULL; !rc && p && p->name; p++) {
        const void *place = (const char *)config + p->offset;
        const struct vm_prop_list *list = place;

        if (p->type == VM_PROP_FD)
            rc = check_fd(cls->name, p, *(const int *)place);
        else if (p->type == VM_PROP_LIST && p->element == VM_PROP_FD)
            for (uint32_t n = 0; !rc && n < list->count; n++)
                rc = check_fd(cls->name, p, ((const int *)list->items)[n]);
    }
    return rc;
}

static int check_fds(const struct run_inputs *in)
{
    int rc = 0;

    for (size_t i = 0; !rc && i < in->machine.device_count; i++)
        rc = vmm_run_check_fds(in->devices[i].cls, in->devices[i].config);
    return rc;
}

/* The device says it, too, but a plan has no memory. */
static int check_balloon(const struct run_inputs *in)
{
    const struct run_part *part = &in->model->part[RUN_BALLOON];
    const struct vm_prop_list *list = run_part_of(in->model, in->config, RUN_BALLOON);
    const struct vm_prop *row = list && list->count ? vm_prop_find(part->props, "size", 4) : NULL;
    uint64_t size = 0;

    if (row)
        memcpy(&size, (const char *)list->items + row->offset, sizeof(size));
    if (size > in->config->memory.size)
        return vm_fail(
            -EINVAL, "--balloon: size=%lluM is more than the guest's memory, %lluM (--memory)",
            (unsigned long long)size >> 20, (unsigned long long)in->config->memory.size >> 20);
    return 0;
}

/* As many as there are up to the last one that is on: a guest counts them by their places. */
static unsigned count_serials(const struct run_inputs *in)
{
    unsigned n = RUN_SERIALS;

    while (n && !is_on(vmm_run_chr_of(in, RUN_SERIAL + n - 1)))
        n--;
    return n;
}

static void arch_config(struct run_inputs *in)
{
    const struct run_config *c = in->config;
    struct varch_config *a = &in->machine.arch;
    unsigned on_mmio = 0;

    for (size_t i = 0; i < in->machine.device_count; i++) {
        const struct vdev_common *common = in->devices[i].config;

        on_mmio +=
            in->devices[i].cls->kind == VDEV_VIRTIO && (!c->pci || common->bus == VDEV_BUS_MMIO);
    }
    *a = (struct varch_config){
        .machine = c->platform.machine,
        .cpus = c->cpus.boot,
        .ram_bytes = c->memory.size,
        .segments = c->pci ? c->platform.num_pci_segments : 0,
        .acpi = c->acpi,
        .cam = c->cam,
        .rtc = c->rtc,
        .i8042 = varch_facts.acpi && !c->acpi,
        .debug_ports = c->debug_ports,
        .pit = c->pit,
        .serials = count_serials(in),
        .mmio_slots = on_mmio,
        .pci_intx = c->pci,
        .irqchip = (enum varch_irqchip)c->irqchip,
    };
}

static const void *platform_config(void *ctx, const struct vdev_class *cls, const char *id)
{
    struct run_inputs *in = ctx;

    static const char *const ids[RUN_SERIALS] = { "serial0", "serial1", "serial2", "serial3" };

    for (unsigned i = 0; i < RUN_SERIALS; i++)
        if (cls == in->model->part[RUN_SERIAL + i].cls && !strcmp(id, ids[i]))
            return run_part_of(in->model, in->config, RUN_SERIAL + i);
    return NULL;
}

/* Why a device cannot have a process of its own here; NULL: it can. */
static const char *thread_reason(const struct vmm_machine_device *d)
{
    if (!(d->cls->placements & VDEV_PROCESS))
        return "only on threads";
    return d->cls->thread_reason ? d->cls->thread_reason(d->config) : NULL;
}

/* What the user said of the device, or else of all. */
static int place(const struct run_config *c, struct vmm_machine_device *d)
{
    const struct vdev_common *common = d->config;
    const char *reason = thread_reason(d);

    if (common->placement == VDEV_PLACE_PROCESS && c->sandbox != RUN_SANDBOX_PROCESS)
        return vm_fail(-EINVAL,
                       "%s: placement=process, but --sandbox is not process, and nobody would "
                       "start it: leave one of them out",
                       d->cls->name);
    if (common->placement == VDEV_PLACE_PROCESS && reason)
        return vm_fail(-EINVAL, "%s: placement=process cannot be: %s", d->cls->name, reason);
    if (common->placement && d->cls->placements == VDEV_FOREIGN)
        return vm_fail(-EINVAL, "%s: placement= is for devices of ours: another program serves it",
                       d->cls->name);
    d->process = c->sandbox == RUN_SANDBOX_PROCESS && !reason &&
                 common->placement != VDEV_PLACE_THREAD && d->cls->kind == VDEV_VIRTIO;
    return 0;
}

/* A mistake in a program's text is one before any program is started. */
static int note_program(struct run_inputs *in, const struct vmm_machine_device *d)
{
    const char *text = vmm_machine_program_of(d->cls, d->config);

    int rc = text ? vmm_machine_program_check(text) : 0;

    in->programs = in->programs || text ||
                   (d->cls->starts_program && d->config && d->cls->starts_program(d->config));
    return rc ? vm_wrap(rc, "%s", d->cls->name) : 0;
}

static int place_devices(struct run_inputs *in)
{
    int rc = 0;

    for (size_t i = 0; !rc && i < in->machine.device_count; i++) {
        rc = place(in->config, &in->devices[i]);
        if (!rc)
            rc = note_program(in, &in->devices[i]);
        in->processes = in->processes || in->devices[i].process;
        in->shared = in->shared || in->devices[i].cls->placements == VDEV_FOREIGN;
    }
    return rc;
}

/* Transparent huge pages are for memory that has no huge pages of its own. */
static struct gm_backing ram_backing(const struct run_memory *m, bool shared)
{
    return (struct gm_backing){
        .kind = m->hugepages ? GM_HUGETLB
                : shared     ? GM_MEMFD
                             : GM_ANONYMOUS,
        .huge_bytes = m->hugepage_size,
        .prefault = m->prefault,
        .thp = m->thp && !m->hugepages,
        .bind_node = m->node.count > 0,
        .node = m->node.count ? *(const uint32_t *)m->node.items : 0,
    };
}

/* Taken page by page, too much of it ends in the kernel's out-of-memory killer, which asks nobody. */
static int check_prefault(const struct run_memory *m)
{
    static const char key[] = "MemAvailable:";
    unsigned long long kib = 0, mib = m->size >> 20;
    FILE *f = m->prefault && !m->hugepages ? fopen("/proc/meminfo", "re") : NULL;
    char line[128];

    if (!f)
        return 0;
    while (!kib && fgets(line, sizeof(line), f))
        if (!strncmp(line, key, sizeof(key) - 1))
            kib = strtoull(line + sizeof(key) - 1, NULL, 10); /* 0: not said */
    fclose(f);
    if (kib && m->size >> 10 > kib)
        return vm_fail(-ENOMEM,
                       "--memory: %llu MiB with prefault=on, but this host has %llu MiB left "
                       "(MemAvailable in /proc/meminfo): give less, or leave prefault out",
                       mib, kib >> 10);
    return 0;
}

int vmm_run_inputs_make(const struct run_model *model, struct run_config *config, bool open_files,
                        struct run_inputs *in)
{
    int rc;

    memset(in, 0, sizeof(*in));
    in->model = model;
    in->config = config;
    in->kernel_fd = in->initrd_fd = in->overlay_fd = -1;
    in->machine.kernel.fd = in->machine.initrd.fd = in->machine.overlay.fd = -1;
    settle_consoles(in);
    rc = check_consoles(in);
    if (!rc)
        rc = list_devices(in);
    if (!rc)
        rc = check_balloon(in);
    if (!rc)
        rc = vmm_run_check_conflicts(in);
    if (!rc)
        rc = check_cmdline(config);
    if (!rc)
        rc = place_devices(in);
    if (!rc)
        rc = make_cmdline(in);
    if (!rc && open_files)
        rc = check_fds(in);
    if (!rc && open_files)
        rc = settle_devices(in);
    if (!rc && open_files)
        rc = check_prefault(&config->memory);
    if (!rc && open_files)
        rc = open_image("kernel", config->payload.kernel, &in->kernel_fd, &in->machine.kernel);
    if (!rc && open_files && config->payload.initramfs)
        rc =
            open_image("initramfs", config->payload.initramfs, &in->initrd_fd, &in->machine.initrd);
    if (!rc && config->payload.overlay)
        rc = open_image("device tree overlay", config->payload.overlay, &in->overlay_fd,
                        &in->machine.overlay);
    if (rc) {
        vmm_run_inputs_free(in);
        return rc;
    }
    arch_config(in);
    in->machine.classes = vdev_classes;
    in->machine.ram = ram_backing(&config->memory, in->shared || in->processes);
    in->machine.log_level = (enum vm_level)config->log_level;
    in->machine.sandbox.filters = config->sandbox != RUN_SANDBOX_OFF;
    in->machine.sandbox.action = (enum vmm_jail_action)config->seccomp;
    in->machine.sandbox.policy_dir = config->policy_dir;
    in->machine.platform = platform_config;
    return 0;
}

void vmm_run_inputs_free(struct run_inputs *in)
{
    vm_close(&in->kernel_fd);
    vm_close(&in->initrd_fd);
    vm_close(&in->overlay_fd);
    for (size_t i = 0; i < in->made_count; i++)
        free(in->made[i]);
    free(in->made);
    free(in->devices);
    free(in->cmdline);
    in->made = NULL;
    in->made_count = 0;
    in->devices = NULL;
    in->cmdline = NULL;
}
