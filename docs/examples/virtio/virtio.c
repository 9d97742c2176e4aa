/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library virtio alone: a device that answers every request with one byte, behind the MMIO transport (VIRTIO 1.2, 4.2).
 * The device is the first half of this file; the second half is a driver that speaks to it through registers and memory
 * only, as a guest would.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/virtio/transport.h>

/* -- the device -- */

enum { ANSWER = 42, QUEUE_SIZE = 8 };

static int answer_kick(struct virtio_dev *dev, uint16_t n)
{
    struct vq *q = &dev->queue[n];
    struct vq_chain c;
    uint8_t answer = ANSWER;
    int rc, done = 0;

    while ((rc = vq_next(q, &c)) > 0) {
        if ((rc = vq_push(q, &c, &answer, 1)) || (rc = vq_done(q, &c)))
            break;
        done++;
    }
    if (done)
        virtio_notify(dev, n);
    return rc;
}

static void answer_destroy(struct virtio_dev *dev)
{
    virtio_exit(dev);
    free(dev);
}

static const struct virtio_ops answer_ops = { .kick = answer_kick, .destroy = answer_destroy };
static const struct vdev_class answer_class = { .name = "virtio-answer", .kind = VDEV_VIRTIO };

static int answer_create(const struct vdev_context *context, struct virtio_dev **ret_dev)
{
    static const uint16_t sizes[] = { QUEUE_SIZE };
    struct virtio_setup setup = { .id = VIRTIO_ID_RNG, .queue_sizes = sizes, .queues = 1 };
    struct virtio_dev *dev = calloc(1, sizeof(*dev));
    int rc = dev ? virtio_init(dev, &answer_class, &answer_ops, context, &setup) : -ENOMEM;

    if (rc)
        free(dev);
    else
        *ret_dev = dev;
    return rc;
}

/* -- the machine around it -- */

enum { RAM_BYTES = 1 << 16, WINDOW = 0x100000, DESC_AT = 0x1000, AVAIL_AT = 0x2000 };
enum { USED_AT = 0x3000, BUFFER_AT = 0x4000, DESC_F_WRITE = 2 };

static alignas(GM_PAGE_BYTES) uint8_t ram[RAM_BYTES];

/* No eventfds here: the driver's kicks reach the device through its register. */
static int no_doorbell(struct vdev_machine *machine, bool pio, uint64_t addr, unsigned len,
                       bool match, uint64_t value, int fd)
{
    (void)machine, (void)pio, (void)addr, (void)len, (void)match, (void)value, (void)fd;
    return -ENOTSUP;
}
static void no_unpark(struct vdev_machine *machine, struct vdev *dev)
{
    (void)machine, (void)dev;
}
static void broken(struct vdev_machine *machine, struct vdev *dev, const char *why)
{
    (void)machine;
    fprintf(stderr, "%s: %s\n", dev->id, why);
}
static const struct vdev_machine_ops machine_ops = { .doorbell_add = no_doorbell,
                                                     .unpark = no_unpark,
                                                     .broken = broken };

static void irq_set(struct vdev_irq *irq, bool level)
{
    (void)irq;
    printf("interrupt line %s\n", level ? "high" : "low");
}

/* -- the driver -- */

enum { /* register offsets (4.2.2) */
       DRIVER_FEATURES = 0x20,
       DRIVER_FEATURES_SEL = 0x24,
       QUEUE_NUM = 0x38,
       QUEUE_READY = 0x44,
       QUEUE_NOTIFY = 0x50,
       INTERRUPT_STATUS = 0x60,
       INTERRUPT_ACK = 0x64,
       STATUS = 0x70,
       QUEUE_DESC = 0x80,
       QUEUE_DRIVER = 0x90,
       QUEUE_DEVICE = 0xa0,
};

static void reg_write(struct vdev_bus_reader *bus, unsigned reg, uint32_t value)
{
    struct vdev *waits;
    uint8_t data[4];

    vm_store_le(data, 4, value);
    vdev_bus_write(bus, WINDOW + reg, data, 4, &waits);
}

static uint32_t reg_read(struct vdev_bus_reader *bus, unsigned reg)
{
    struct vdev *waits;
    uint8_t data[4];

    vdev_bus_read(bus, WINDOW + reg, data, 4, &waits);
    return (uint32_t)vm_load_le(data, 4);
}

static void drive(struct vdev_bus_reader *bus, struct vm_loop *loop)
{
    uint32_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

    reg_write(bus, STATUS, status);
    reg_write(bus, DRIVER_FEATURES_SEL, 1);
    reg_write(bus, DRIVER_FEATURES, 1); /* VERSION_1 is bit 32 */
    reg_write(bus, STATUS, status |= VIRTIO_FEATURES_OK);
    reg_write(bus, QUEUE_NUM, QUEUE_SIZE);
    reg_write(bus, QUEUE_DESC, DESC_AT);
    reg_write(bus, QUEUE_DRIVER, AVAIL_AT);
    reg_write(bus, QUEUE_DEVICE, USED_AT);
    reg_write(bus, QUEUE_READY, 1);
    reg_write(bus, STATUS, status |= VIRTIO_DRIVER_OK);

    vm_store_le(ram + DESC_AT, 8, BUFFER_AT);
    vm_store_le(ram + DESC_AT + 8, 4, 1);
    vm_store_le(ram + DESC_AT + 12, 2, DESC_F_WRITE);
    vm_store_le(ram + AVAIL_AT + 2, 2, 1); /* idx: one chain, which begins at descriptor 0 */
    reg_write(bus, QUEUE_NOTIFY, 0);
    while (vm_loop_step(loop, 0) > 0)
        ;
    reg_write(bus, INTERRUPT_ACK, reg_read(bus, INTERRUPT_STATUS));
    printf("status %#x, used %u\n", reg_read(bus, STATUS),
           (unsigned)vm_load_le(ram + USED_AT + 2, 2));
    printf("the driver reads %u\n", ram[BUFFER_AT]);
}

static int run(struct vdev_context *context)
{
    struct vdev_irq irq = { .set = irq_set };
    struct vdev_bus_reader reader;
    struct virtio_mmio *mmio;
    struct virtio_dev *dev;
    int rc = answer_create(context, &dev);

    if (rc)
        return rc;
    rc = virtio_mmio_new(dev, context->mmio, WINDOW, &irq, &mmio);
    if (rc) {
        vdev_destroy(&dev->dev);
        return rc;
    }
    vdev_bus_reader_init(context->mmio, &reader);
    drive(&reader, context->env->loop);
    vdev_bus_reader_exit(&reader);
    virtio_mmio_free(mmio); /* and the device with it */
    return 0;
}

int main(void)
{
    struct gm_backing backing = { .kind = GM_BORROWED, .host = ram };
    struct vdev_machine machine = { .ops = &machine_ops };
    struct vdev_context context = { .id = "answer0", .machine = &machine };
    struct gm_region *region = NULL;
    struct vm_env env;
    int rc;

    vm_env_host(VM_LOG_INFO, &env);
    context.env = &env;
    rc = vm_loop_new(&env, 0, &env.loop);
    if (!rc)
        rc = gm_space_new(&env, &context.memory);
    if (!rc)
        rc = gm_region_new(0, RAM_BYTES, &backing, &region);
    if (!rc)
        rc = gm_space_change(context.memory, &(struct gm_change){ .add = &region, .add_count = 1 });
    if (!rc)
        rc = vdev_bus_new(&env, "memory", UINT32_MAX, &context.mmio);
    if (!rc)
        rc = run(&context);
    if (rc) {
        fprintf(stderr, "virtio: %s\n", vm_error_text());
        return 1;
    }
    vdev_bus_free(context.mmio);
    gm_space_change(context.memory, &(struct gm_change){ .remove = &region, .remove_count = 1 });
    gm_region_unref(region);
    gm_space_free(context.memory);
    vm_loop_free(env.loop);
    return 0;
}
