/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The machine that a seed chooses, its environment, and its way through save and load. */
#include "sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/devices/classes.h>

enum { CLASSES = 64, SECTIONS = 24 };

/* --- the environment: everything comes from the seed --- */

static uint64_t env_now(void *ctx, enum vm_clock clock)
{
    const struct sim *s = ctx;
    uint64_t now = s->env.loop ? vm_loop_now_ns(s->env.loop) : 0;

    return clock == VM_CLOCK_WALL ? now + 1700000000ULL * 1000000000ULL : now;
}

/* Only the entropy device draws; what it drew is what the guest must find. */
static int env_random(void *ctx, void *buf, size_t len)
{
    struct sim *s = ctx;
    uint8_t *to = buf;

    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)sim_next(s);
    if (len > SIM_STREAM - s->random_len)
        sim_fail(s, "the entropy device draws without end");
    memcpy(s->random + s->random_len, buf, len);
    s->random_len += len;
    return 0;
}

static void env_log(void *ctx, enum vm_level level, const char *text)
{
    (void)level;
    sim_say(ctx, "log: %s", text);
}

/* Names: "disk", "0" to "4" (a console's number), "serial"; "/0" to "/4" are sockets of processes. */
static int env_open(void *ctx, const char *name, unsigned how)
{
    struct sim *s = ctx;
    int fd = !strcmp(name, "disk")     ? s->disk_fd
             : !strcmp(name, "serial") ? s->serial.file
                                       : s->dev[(unsigned)(name[0] - '0') % SIM_DEVS].file;

    if (how == VM_OPEN_CONNECT)
        return sim_far_connect(s, name);
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? vm_fail_errno("%s", name) : fd;
}

static int new_file(struct sim *s, size_t bytes)
{
    int fd = memfd_create("sim", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)bytes))
        sim_fail(s, "no memory for a file");
    return fd;
}

uint64_t sim_hash(const void *data, size_t len)
{
    const uint64_t *word = data;
    uint64_t h = 0x9e3779b97f4a7c15ULL;

    for (size_t i = 0; i < len / 8; i++) {
        h = (h << 7 | h >> 57) ^ word[i];
        (void)__builtin_mul_overflow(h, 0x9fb21c651e98df25ULL, &h);
    }
    return h;
}

/* --- what the seed chooses --- */

static const struct vdev_class *const *classes(void)
{
    static _Thread_local const struct vdev_class *all[CLASSES];
    unsigned n = 0;

    while (vdev_classes[n] && n < CLASSES - 2) {
        all[n] = vdev_classes[n];
        n++;
    }
    all[n++] = &sim_echo_class;
    all[n] = NULL;
    return all;
}

static const struct vdev_class *class_of(const char *name)
{
    return vdev_class_find(name, strlen(name));
}

static const struct vdev_class *class_of_kind(enum sim_kind kind)
{
    switch (kind) {
    case SIM_RNG: return class_of("virtio-rng");
    case SIM_BLK: return class_of("virtio-blk");
    case SIM_CONSOLE: return class_of("virtio-console");
    default: return &sim_echo_class;
    }
}

static void stream_open(struct sim *s, struct sim_dev *d)
{
    d->file = new_file(s, 0);
    d->sent = malloc(SIM_STREAM);
    if (!d->sent)
        sim_fail(s, "no memory");
}

static void configure(struct sim *s, struct sim_dev *d)
{
    char text[192], own[64] = "";

    snprintf(d->id, sizeof(d->id), "dev%u", d->number);
    if (d->kind == SIM_BLK)
        snprintf(own, sizeof(own), "path=disk,serial=sim");
    if (d->kind == SIM_CONSOLE)
        snprintf(own, sizeof(own), "mode=file,file=%u,append", d->number);
    snprintf(text, sizeof(text), "id=%s,bus=%s%s%s%s%s", d->id, d->pci ? "pci" : "mmio",
             d->segment ? ",pci_segment=1" : "", d->far.on ? ",type=1,socket=/" : "",
             *own && !d->far.on ? "," : "", d->far.on ? "" : own);
    d->config = calloc(1, d->cls->config_size);
    if (!d->config || vm_prop_defaults(d->cls->props, d->config) ||
        vm_prop_parse(d->cls->props, d->config, d->id, NULL, text))
        sim_fail(s, "%s: %s", text, vm_error_text());
    if (d->kind == SIM_CONSOLE)
        stream_open(s, d);
    if (d->far.on)
        sim_far_configure(s, d, own);
    s->want[d->number] = (struct vmm_machine_device){ .cls = d->cls, .config = d->config };
    sim_say(s, "device %s: %s %s%s%s", d->id, d->far.on ? d->far.cls->name : d->cls->name,
            d->pci ? "pci" : "mmio", d->pci && !d->msix ? " intx" : "",
            d->far.on ? ", in a process" : "");
}

/* The front end is what the machine has then. */
static void choose_process(struct sim *s, struct sim_dev *d)
{
    const struct vdev_class *front = class_of("vhost-user");

    d->far.on = front && sim_one_in(s, 2);
    if (!d->far.on)
        return;
    d->far.cls = d->cls;
    d->cls = front;
    s->config.ram.kind = GM_MEMFD;
}

static void choose_devices(struct sim *s)
{
    unsigned n = sim_between(s, 1, SIM_DEVS);
    bool have[SIM_KINDS] = { false };

    while (s->devs < n) {
        struct sim_dev *d = &s->dev[s->devs];

        d->kind = (enum sim_kind)sim_below(s, SIM_KINDS);
        d->cls = class_of_kind(d->kind);
        /* One source of numbers, one disk: then what is right is known. */
        if (!d->cls || (have[d->kind] && (d->kind == SIM_RNG || d->kind == SIM_BLK))) {
            d->kind = SIM_ECHO;
            d->cls = &sim_echo_class;
        }
        have[d->kind] = true;
        d->number = s->devs++;
        d->pci = s->config.arch.segments && !sim_one_in(s, 3);
        d->segment = d->pci && s->config.arch.segments > 1 && sim_one_in(s, 2);
        /* Only segment 0 has wires. */
        d->msix = d->pci && (d->segment || !s->config.arch.pci_intx || sim_one_in(s, 2));
        d->queues = d->kind == SIM_CONSOLE ? 2 : 1;
        for (unsigned q = 0; q < d->queues; q++)
            d->q[q].base = SIM_HEAP + (d->number * SIM_QUEUES + q) * (uint64_t)SIM_QUEUE_BYTES;
        choose_process(s, d);
        configure(s, d);
    }
}

static const void *platform(void *ctx, const struct vdev_class *cls, const char *id)
{
    const struct sim *s = ctx;

    (void)cls;
    return !strcmp(id, "serial0") ? s->serial.config : NULL;
}

static void ended(void *ctx, enum vmm_end end)
{
    sim_fail(ctx, "the machine ended: %s", vmm_end_name(end));
}

static void event(void *ctx, enum vmm_event event, const char *source, const char *text)
{
    if (event == VMM_EVENT_TROUBLE)
        sim_fail(ctx, "%s: %s", source, text);
}

static void choose_machine(struct sim *s)
{
    struct varch_config *a = &s->config.arch;

    a->cpus = sim_between(s, 1, SIM_CPUS);
    a->ram_bytes = SIM_RAM_BYTES;
    a->segments = sim_below(s, 3);
    a->mmio_slots = SIM_DEVS;
    a->pci_intx = a->segments && sim_one_in(s, 2);
    a->irqchip = (enum varch_irqchip)((varch_facts.acpi && !class_of("ioapic")) || sim_one_in(s, 3)
                                          ? TEST_IRQCHIP_KERNEL
                                          : TEST_IRQCHIP_OTHER);
    a->rtc = class_of(varch_facts.clock_class) && sim_one_in(s, 2);
    a->acpi = varch_facts.acpi && class_of("acpi-ged") && (a->cpus > 1 || sim_one_in(s, 2));
    if (varch_facts.acpi && !a->acpi)
        a->cpus = 1;
    if (class_of(varch_facts.serial_class) && sim_one_in(s, 2)) {
        const struct vdev_class *cls = class_of(varch_facts.serial_class);

        a->serials = 1;
        stream_open(s, &s->serial);
        s->serial.config = calloc(1, cls->config_size);
        if (!s->serial.config || vm_prop_defaults(cls->props, s->serial.config) ||
            vm_prop_parse(cls->props, s->serial.config, "serial0", NULL,
                          "mode=file,file=serial,append"))
            sim_fail(s, "serial: %s", vm_error_text());
        s->serial.cls = cls;
    }
    sim_say(s, "machine: %u vCPUs, %u segments, irqchip %s%s", a->cpus, a->segments,
            a->irqchip == (enum varch_irqchip)TEST_IRQCHIP_KERNEL ? TEST_IRQCHIP_KERNEL_TEXT
                                                                  : TEST_IRQCHIP_OTHER_TEXT,
            a->pci_intx ? ", intx" : "");
}

/* --- life --- */

static void make(struct sim *s)
{
    struct gm_map *map;

    if (vmm_machine_new(&s->config, &s->machine))
        sim_fail(s, "the machine cannot be made: %s", vm_error_text());
    sim_guest_attach(s);
    map = gm_space_map(vmm_machine_memory(s->machine));
    s->ram = gm_region_host(gm_map_find(map, TEST_RAM_BASE));
    gm_map_unref(map);
}

static void start(struct sim *s)
{
    if (vmm_machine_start(s->machine))
        sim_fail(s, "the machine does not start: %s", vm_error_text());
    s->life = SIM_RUNS;
}

void sim_open(struct sim *s)
{
    s->env = (struct vm_env){
        .ctx = s, .log = env_log, .now_ns = env_now, .random = env_random, .open = env_open
    };
    if (vm_loop_new(&s->env, VM_LOOP_VIRTUAL, &s->env.loop) || hv_fake_new(&s->env, &s->hv))
        sim_fail(s, "no memory");
    s->disk_fd = new_file(s, sizeof(s->disk));
    s->disk_known = true;
    s->config = (struct vmm_machine_config){ .env = &s->env,
                                             .hv = s->hv,
                                             .classes = classes(),
                                             .stepwise = true,
                                             .blank = true,
                                             .kernel = { "", -1 },
                                             .initrd = { "", -1 },
                                             .platform = platform,
                                             .ended = ended,
                                             .event = event,
                                             .ctx = s };
    choose_machine(s);
    choose_devices(s);
    s->config.devices = s->want;
    s->config.device_count = s->devs;
    make(s);
    start(s);
    for (unsigned i = 0; i < s->devs; i++)
        sim_bus_probe(s, &s->dev[i]);
}

static void free_stream(struct sim_dev *d)
{
    if (d->sent)
        close(d->file);
    free(d->sent);
    if (d->config)
        vm_prop_free(d->cls->props, d->config);
    free(d->config);
}

void sim_close(struct sim *s)
{
    for (unsigned i = 0; i < s->devs; i++)
        sim_driver_exit(&s->dev[i]);
    s->unplugs = false;
    vmm_machine_free(s->machine);
    s->ram = NULL;
    sim_far_close(s);
    for (unsigned i = 0; i < s->devs; i++)
        free_stream(&s->dev[i]);
    free_stream(&s->serial);
    close(s->disk_fd);
    hv_free(s->hv);
    if (vm_loop_step(s->env.loop, UINT64_MAX))
        sim_fail(s, "something is left in the loop after the machine");
    vm_loop_free(s->env.loop);
    s->env.loop = NULL;
}

/* --- save and load --- */

struct sections {
    struct sim *sim;
    char id[SECTIONS][VDEV_ID_MAX + 1];
    struct vm_buffer bytes[SECTIONS];
    unsigned count;
};

static void save_one(void *ctx, struct vdev *dev)
{
    struct sections *to = ctx;

    if (to->count == SECTIONS)
        sim_fail(to->sim, "too many devices to save");
    snprintf(to->id[to->count], sizeof(to->id[0]), "%s", dev->id);
    if (vmm_machine_save_device(to->sim->machine, dev, &to->bytes[to->count++]))
        sim_fail(to->sim, "%s cannot be saved: %s", dev->id, vm_error_text());
}

static void load_all(struct sim *s, const struct sections *from)
{
    for (unsigned i = 0; i < from->count; i++) {
        struct vdev *dev = vmm_machine_find(s->machine, from->id[i]);

        if (!dev)
            sim_fail(s, "%s is missing in the new machine", from->id[i]);
        if (vmm_machine_load_device(s->machine, dev, from->bytes[i].data, from->bytes[i].len))
            sim_fail(s, "%s cannot be loaded: %s", dev->id, vm_error_text());
    }
}

/* Save, load, save gives equal bytes. */
static void compare(struct sim *s, const struct sections *a, const struct sections *b)
{
    for (unsigned i = 0; i < a->count; i++) {
        const struct vm_buffer *x = &a->bytes[i], *y = &b->bytes[i];
        size_t at = 0;

        while (at < x->len && at < y->len && x->data[at] == y->data[at])
            at++;
        if (at < x->len || at < y->len)
            sim_fail(s, "%s is saved differently after a load: byte %zu of %zu", a->id[i], at,
                     x->len);
    }
}

static void free_sections(struct sections *to)
{
    for (unsigned i = 0; i < to->count; i++)
        vm_buffer_free(&to->bytes[i]);
}

static void each_view(struct sim *s, bool on)
{
    for (unsigned i = 0; i < s->devs; i++)
        for (unsigned q = 0; q < s->dev[i].queues; q++) {
            struct sim_queue *queue = &s->dev[i].q[q];

            if (queue->made && on)
                gm_view_init(&queue->drv.view, vmm_machine_memory(s->machine), NULL);
            else if (queue->made)
                gm_view_exit(&queue->drv.view);
        }
}

/* State is loaded while the machine is paused, before its first instruction. */
static void come_to_rest(struct sim *s)
{
    sim_pause(s);
    for (unsigned i = 0; i < s->config.arch.cpus; i++)
        vmm_machine_step(s->machine, i);
    for (unsigned turns = 0; s->life != SIM_PAUSED && turns < 100; turns++)
        if (vm_loop_step(s->env.loop, 0) < 0)
            break;
    if (s->life != SIM_PAUSED)
        sim_fail(s, "a new machine does not come to rest");
}

void sim_reload(struct sim *s)
{
    struct sections before = { .sim = s }, after = { .sim = s };
    uint8_t *ram = malloc(SIM_HEAP_END - SIM_HEAP);

    if (!ram)
        sim_fail(s, "no memory");
    sim_say(s, "save, destroy, load");
    s->loads++;
    for (unsigned i = 0; i < s->devs; i++)
        if (s->dev[i].far.on)
            mortal_arm(s->dev[i].far.m, 0); /* its machine needs it to begin */
    vmm_machine_walk_devices(s->machine, save_one, &before);
    sim_take_interrupts(s);
    memcpy(ram, sim_host(s, SIM_HEAP), SIM_HEAP_END - SIM_HEAP);
    each_view(s, false);
    vmm_machine_free(s->machine);
    memset(s->level, 0, sizeof(s->level));
    make(s);
    memcpy(sim_host(s, SIM_HEAP), ram, SIM_HEAP_END - SIM_HEAP);
    free(ram);
    each_view(s, true);
    start(s);
    sim_unplug_again(s);
    come_to_rest(s);
    load_all(s, &before);
    vmm_machine_walk_devices(s->machine, save_one, &after);
    compare(s, &before, &after);
    if (sim_heap_hash(s) != s->quiet_hash)
        sim_fail(s, "a load wrote to guest memory");
    free_sections(&before);
    free_sections(&after);
}
