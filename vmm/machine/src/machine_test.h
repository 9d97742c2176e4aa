/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the machine's tests share: a machine over the fake hypervisor, guests that play a script of
 * exits, a lab device (where the architecture has its serial ports) and a virtio device that do what
 * the test says. */
#ifndef MACHINE_TEST_H
#define MACHINE_TEST_H

#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/le.h>
#include <vmm/devices/classes.h>
#include <vmm/hypervisor/fake.h>

#include "machine_private.h"
#include "test_arch.h"

enum { MT_SCRIPT = 16, MT_LOG = 64, MT_CPUS = 4, MT_LABS = 4, MT_CLASSES = 64 };

/* Registers of the lab device. */
enum {
    LAB_DATA, /* what is written is noted; reads count up */
    LAB_PARK, /* parks until mt_unpark() */
    LAB_EVENT, /* an enum vdev_event */
    LAB_LINE, /* its interrupt line */
    LAB_BREAK, /* vdev_broken() */
};

struct lab {
    struct vdev dev;
    struct vdev_region region;
    struct vdev_bus *bus;
    bool pio; /* it sits on ports */
    struct vdev_irq *irq;
    unsigned writes, reads, quiesces, resumes, buttons;
    uint8_t written[32];
    struct lab_state {
        uint32_t value;
    } s;
};

struct mt_exit {
    enum {
        MT_END,
        MT_OUT, /* register addr of the first lab, by port or memory */
        MT_IN,
        MT_OUTS, /* likewise, a string: ports only */
        MT_PORT, /* reads a port */
        MT_WRITE,
        MT_READ,
        MT_PLAIN,
        MT_EOI,
        MT_SYSTEM,
        MT_INTERNAL,
        MT_FAIL
    } kind;
    uint64_t addr;
    unsigned len;
    uint64_t value; /* written, or the answer to a read */
    const char *string;
};

struct mt_cpu {
    struct mt_exit script[MT_SCRIPT];
    unsigned at, turns, answered;
};

struct mt {
    struct vm_env env;
    struct vm_loop *loop;
    struct hv *hv;
    struct vmm_machine_config config;
    struct vmm_machine *machine;
    struct mt_cpu cpu[MT_CPUS];
    unsigned ended, events; /* events: of trouble */
    unsigned told[VMM_EVENT_ENDED + 1]; /* of each kind */
    enum vmm_end end;
    char event[VM_ERROR_TEXT], event_source[VDEV_ID_MAX + 1];
    unsigned lines;
    char log[MT_LOG][256];
    pthread_mutex_t log_lock;
    bool paused;
    int pause_code;
    char pause_text[VM_ERROR_TEXT];

    struct lab *lab[MT_LABS]; /* in order of creation */
    unsigned labs;
    int create_rc, quiesce_rc, resume_rc;
    uint64_t ahead_ns; /* of the host's clock; atomic */
};
static struct mt t;

/* --- the lab: has the name of the architecture's serial ports, since these are what it asks for --- */

static inline int lab_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct lab *lab = self;

    memset(data, 0, len);
    data[0] = (uint8_t)(0x10 + lab->reads++);
    if (offset != LAB_PARK)
        return 0;
    vdev_park(&lab->dev);
    return -EINPROGRESS;
}

static inline int lab_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct lab *lab = self;

    (void)len;
    lab->written[lab->writes++ % sizeof(lab->written)] = data[0];
    switch (offset) {
    case LAB_PARK: vdev_park(&lab->dev); return -EINPROGRESS;
    case LAB_EVENT: vdev_event(&lab->dev, (enum vdev_event)data[0], 'x'); break;
    case LAB_LINE: vdev_irq_set(lab->irq, data[0]); break;
    case LAB_BREAK:
        lab->dev.broken = false;
        vdev_broken(&lab->dev, "it fell");
        break;
    default: break;
    }
    return 0;
}

static const struct vdev_region_ops lab_region_ops = { .read = lab_read, .write = lab_write };

static inline int lab_quiesce(struct vdev *dev)
{
    container_of(dev, struct lab, dev)->quiesces++;
    return t.quiesce_rc == -EIO ? vm_fail(-EIO, "the lab does not stop") : t.quiesce_rc;
}

static inline void lab_give_up(struct vdev *dev)
{
    vdev_done(dev, vm_fail(-ETIMEDOUT, "the lab takes its time"));
}

static inline int lab_resume(struct vdev *dev)
{
    container_of(dev, struct lab, dev)->resumes++;
    return t.resume_rc ? vm_fail(t.resume_rc, "the lab does not go on") : 0;
}

static inline void lab_save(struct vdev *dev, void *ret_state)
{
    *(struct lab_state *)ret_state = container_of(dev, struct lab, dev)->s;
}

static inline int lab_load(struct vdev *dev, const void *untrusted)
{
    container_of(dev, struct lab, dev)->s = *(const struct lab_state *)untrusted;
    return 0;
}

static inline void lab_destroy(struct vdev *dev)
{
    struct lab *lab = container_of(dev, struct lab, dev);

    vdev_bus_del(lab->bus, &lab->region, NULL, NULL);
    vdev_exit(dev);
    free(lab);
}

static inline int lab_set(struct vdev *dev, const struct vm_prop *prop, const void *config)
{
    (void)prop;
    container_of(dev, struct lab, dev)->s.value =
        *(const uint32_t *)((const char *)config + prop->offset);
    return 0;
}

static const struct vdev_ops lab_ops = {
    .quiesce = lab_quiesce,
    .give_up = lab_give_up,
    .resume = lab_resume,
    .save = lab_save,
    .load = lab_load,
    .destroy = lab_destroy,
    .set = lab_set,
};

struct lab_config {
    struct vdev_common common;
    uint32_t value;
};
static const struct vm_prop lab_props[] = {
    VDEV_PROPS(struct lab_config),
    { .name = "value",
      .type = VM_PROP_U32,
      .offset = offsetof(struct lab_config, value),
      .preset = "7",
      .max = 99,
      .help = "kept" },
    { 0 },
};
static const struct vm_state_field lab_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct lab_state, value) },
    { 0 },
};

static int lab_create(const struct vdev_context *context, struct vdev **ret_dev);
static struct vdev_class lab_class = {
    .name = NULL, /* mt_open() */
    .summary = "what the tests need",
    .kind = VDEV_PLATFORM,
    .props = lab_props,
    .config_size = sizeof(struct lab_config),
    .state = lab_fields,
    .state_size = sizeof(struct lab_state),
    .state_version = 1,
    .create = lab_create,
};

static int lab_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    struct lab *lab;

    if (t.create_rc)
        return vm_fail(t.create_rc, "the lab is closed");
    lab = calloc(1, sizeof(*lab));
    cr_assert(lab);
    vdev_init(&lab->dev, &lab_class, &lab_ops, context);
    lab->pio = context->resources[0].type == VDEV_RES_PIO;
    lab->bus = lab->pio ? context->pio : context->mmio;
    lab->irq = context->irqs[0];
    lab->s.value = ((const struct lab_config *)context->config)->value;
    lab->region = (struct vdev_region){ .name = lab->dev.id,
                                        .base = context->resources[0].base,
                                        .size = context->resources[0].size,
                                        .ops = &lab_region_ops,
                                        .self = lab,
                                        .lock = &lab->dev.lock,
                                        .dev = &lab->dev };
    cr_assert_eq(vdev_bus_add(lab->bus, &lab->region), 0);
    t.lab[t.labs++ % MT_LABS] = lab;
    *ret_dev = &lab->dev;
    return 0;
}

/* --- a virtio device --- */

static inline int tube_kick(struct virtio_dev *dev, uint16_t n)
{
    struct vq_chain c;
    int rc;

    while ((rc = vq_next(&dev->queue[n], &c)) > 0)
        (void)vq_done(&dev->queue[n], &c);
    virtio_notify(dev, n);
    return rc;
}

static inline void tube_destroy(struct virtio_dev *dev)
{
    virtio_exit(dev);
    free(dev);
}

static inline int tube_create(const struct vdev_context *context, struct vdev **ret_dev);
static const struct virtio_ops tube_ops = { .kick = tube_kick, .destroy = tube_destroy };
static const struct vdev_class tube_class = {
    .name = "tube",
    .kind = VDEV_VIRTIO,
    .props = lab_props,
    .config_size = sizeof(struct lab_config),
    .create = tube_create,
};

static inline int tube_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    static const uint16_t sizes[] = { 16 };
    const struct virtio_setup setup = { .id = VIRTIO_ID_RNG, .queue_sizes = sizes, .queues = 1 };
    struct virtio_dev *dev = calloc(1, sizeof(*dev));

    cr_assert(dev);
    cr_assert_eq(virtio_init(dev, &tube_class, &tube_ops, context, &setup), 0);
    *ret_dev = &dev->dev;
    return 0;
}

/* --- the guest --- */

static inline void mt_lab_access(struct hv_vcpu *vcpu, struct hv_exit *e, const struct mt_exit *x)
{
    uint64_t at = t.lab[0]->region.base + x->addr;
    bool write = x->kind == MT_OUT;

    if (t.lab[0]->pio)
        hv_fake_exit_pio(vcpu, e, write, (uint16_t)at, (uint8_t)x->len, (uint32_t)x->value);
    else
        hv_fake_exit_mmio(vcpu, e, write, at, x->len, x->value);
}

static inline int mt_next(void *ctx, struct hv_vcpu *vcpu, struct hv_exit *e)
{
    struct mt_cpu *c = ctx;
    const struct mt_exit *x = &c->script[c->at];

    __atomic_fetch_add(&c->turns, 1, __ATOMIC_RELAXED);
    if (c->at < MT_SCRIPT - 1 && x->kind != MT_END)
        c->at++;
    switch (x->kind) {
    case MT_END:
        hv_fake_exit_plain(e, HV_EXIT_INTR);
        sched_yield();
        break;
    case MT_OUT:
    case MT_IN: mt_lab_access(vcpu, e, x); break;
    case MT_OUTS:
        hv_fake_exit_pio_string(vcpu, e, true, (uint16_t)(t.lab[0]->region.base + x->addr), 1,
                                x->len, x->string);
        break;
    case MT_PORT: hv_fake_exit_pio(vcpu, e, false, (uint16_t)x->addr, (uint8_t)x->len, 0); break;
    case MT_WRITE: hv_fake_exit_mmio(vcpu, e, true, x->addr, x->len, x->value); break;
    case MT_READ: hv_fake_exit_mmio(vcpu, e, false, x->addr, x->len, 0); break;
    case MT_PLAIN: hv_fake_exit_plain(e, (enum hv_exit_reason)x->value); break;
    case MT_EOI: hv_fake_exit_eoi(vcpu, e, (uint8_t)x->value); break;
    case MT_SYSTEM: hv_fake_exit_system_event(vcpu, e, (uint32_t)x->value, 0); break;
    case MT_INTERNAL: hv_fake_exit_internal_error(vcpu, e, (uint32_t)x->value, 0x1234); break;
    case MT_FAIL: return (int)x->value;
    }
    return 0;
}

static inline void mt_answer(void *ctx, struct hv_vcpu *vcpu, const struct hv_exit *e)
{
    struct mt_cpu *c = ctx;
    struct mt_exit *x = c->at ? &c->script[c->at - 1] : NULL;

    bool reads = x && (x->kind == MT_IN || x->kind == MT_PORT || x->kind == MT_READ);

    (void)vcpu;
    if (reads && e->reason == HV_EXIT_PIO)
        x->value = vm_load_le(e->pio.data, x->len);
    if (reads && e->reason == HV_EXIT_MMIO)
        x->value = vm_load_le(e->mmio.data, x->len);
    if (e->reason != HV_EXIT_INTR)
        __atomic_fetch_add(&c->answered, 1, __ATOMIC_RELAXED);
}

/* --- the world --- */

static inline void mt_log(void *ctx, enum vm_level level, const char *text)
{
    (void)ctx;
    (void)level;
    pthread_mutex_lock(&t.log_lock);
    snprintf(t.log[t.lines++ % MT_LOG], sizeof(t.log[0]), "%s", text);
    pthread_mutex_unlock(&t.log_lock);
}

static inline bool mt_logged(const char *text)
{
    bool found = false;

    pthread_mutex_lock(&t.log_lock);
    for (unsigned i = 0; i < t.lines && i < MT_LOG; i++)
        found = found || strstr(t.log[i], text);
    pthread_mutex_unlock(&t.log_lock);
    return found;
}

static inline uint64_t mt_now(void *ctx, enum vm_clock clock)
{
    struct timespec now;

    (void)ctx;
    clock_gettime(clock == VM_CLOCK_WALL ? CLOCK_REALTIME : CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec +
           __atomic_load_n(&t.ahead_ns, __ATOMIC_RELAXED);
}

static inline int mt_random(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    memset(buf, 0x5a, len);
    return 0;
}

static inline void mt_ended(void *ctx, enum vmm_end end)
{
    (void)ctx;
    t.ended++;
    t.end = end;
}

static inline void mt_event(void *ctx, enum vmm_event event, const char *source, const char *text)
{
    (void)ctx;
    t.told[event]++;
    t.events = t.told[VMM_EVENT_TROUBLE];
    if (event == VMM_EVENT_PAUSED || event == VMM_EVENT_RESUMED)
        return;
    snprintf(t.event_source, sizeof(t.event_source), "%s", source);
    snprintf(t.event, sizeof(t.event), "%s", text);
}

static inline void mt_paused(void *ctx, int code)
{
    (void)ctx;
    t.paused = true;
    t.pause_code = code;
    snprintf(t.pause_text, sizeof(t.pause_text), "%s", code ? vm_error_text() : "");
}

static inline int mt_kernel(void)
{
    uint8_t bytes[TEST_KERNEL_BYTES];
    int fd = memfd_create("kernel", MFD_CLOEXEC);

    cr_assert_eq(vm_pwrite_full(fd, bytes, test_kernel_make(bytes), 0), 0);
    return fd;
}

/* The platform's classes, but for serial ports: these are labs; and tubes. */
static inline const struct vdev_class *const *mt_classes(void)
{
    static const struct vdev_class *all[MT_CLASSES];
    unsigned n = 0;

    for (const struct vdev_class *const *c = vdev_classes; *c && n < MT_CLASSES - 3; c++)
        if ((*c)->kind == VDEV_PLATFORM && strcmp((*c)->name, lab_class.name) != 0)
            all[n++] = *c;
    all[n++] = &lab_class;
    all[n++] = &tube_class;
    all[n] = NULL;
    return all;
}

static inline void mt_add(const struct vdev_class *cls, const void *config)
{
    static struct vmm_machine_device devices[8];

    t.config.devices = devices;
    devices[t.config.device_count++] = (struct vmm_machine_device){ .cls = cls, .config = config };
}

/* A configuration that works: to be changed before mt_make(). */
static inline void mt_open(bool stepwise)
{
    lab_class.name = varch_facts.serial_class;
    pthread_mutex_init(&t.log_lock, NULL);
    t.env = (struct vm_env){ .log = mt_log, .now_ns = mt_now, .random = mt_random };
    cr_assert_eq(vm_loop_new(&t.env, stepwise ? VM_LOOP_VIRTUAL : 0, &t.env.loop), 0);
    cr_assert_eq(hv_fake_new(&t.env, &t.hv), 0);
    t.config = (struct vmm_machine_config){
        .env = &t.env,
        .hv = t.hv,
        .classes = mt_classes(),
        .arch = { .cpus = 1,
                  .ram_bytes = 16 << 20,
                  .segments = 1,
                  .acpi = varch_facts.acpi,
                  .serials = 1,
                  .mmio_slots = 2 },
        .stepwise = stepwise,
        .kernel = { "kernel", mt_kernel() },
        .initrd = { "", -1 },
        .cmdline = "",
        .ended = mt_ended,
        .event = mt_event,
    };
}

static inline int mt_make(void)
{
    int rc = vmm_machine_new(&t.config, &t.machine);

    for (unsigned i = 0; !rc && i < t.machine->vcpus && i < MT_CPUS; i++) {
        struct hv_fake_guest guest = { .answer = mt_answer, .next = mt_next, .ctx = &t.cpu[i] };

        hv_fake_set_guest(vmm_machine_vcpu(t.machine, i), &guest);
    }
    return rc;
}

static inline void mt_close(void)
{
    vmm_machine_free(t.machine);
    t.machine = NULL;
    hv_free(t.hv);
    close(t.config.kernel.fd);
    vm_loop_free(t.env.loop);
}

/* A stepwise machine that was started, with one script. */
static inline void mt_play(const struct mt_exit *script, unsigned n)
{
    mt_open(true);
    memcpy(t.cpu[0].script, script, n * sizeof(*script));
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    for (unsigned i = 0; i < n + 2; i++)
        vmm_machine_step(t.machine, 0);
}
#define MT_PLAY(...)                                      \
    do {                                                  \
        const struct mt_exit script_[] = { __VA_ARGS__ }; \
        mt_play(script_, VM_ARRAY_SIZE(script_));         \
    } while (0)

/* Stepwise: everything that happens by itself now. */
static inline void mt_idle(void)
{
    for (unsigned i = 0; i < 1000 && vm_loop_step(t.env.loop, 0) > 0; i++)
        ;
}

/* Threads: the control loop until the condition holds. */
#define MT_UNTIL(condition)                                      \
    do {                                                         \
        while (!(condition))                                     \
            cr_assert_geq(vm_loop_step(t.env.loop, 1000000), 0); \
    } while (0)

static inline unsigned mt_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

#endif
