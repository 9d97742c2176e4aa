/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library vhost alone: both ends of a vhost-user connection in one program, on one loop. The back end serves a device that answers every request with
 * one byte; the front end is the same device to a driver, behind the MMIO transport (VIRTIO 1.2, 4.2). Between them are a socket and memory that
 * both map; in real life two processes, of which either may be somebody else's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/vhost/backend.h>
#include <vmm/vhost/frontend.h>
#include <vmm/virtio/transport.h>

/* -- the back end: a device, and a socket to serve it on -- */

enum { ANSWER = 42, QUEUE_SIZE = 8 };
#define WAIT_NS 5000000000ULL
#define STEP_NS 10000000ULL

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

static void closed(void *ctx, const struct vm_error *why)
{
    (void)ctx;
    printf("the back end: %s\n", why->text);
}

/* Its memory is what the front end sends: nothing yet. */
static int serve(const struct vdev_context *context, int fd, struct vhost_backend **ret_backend)
{
    static const struct vhost_backend_ops ops = { .closed = closed };
    struct virtio_dev *dev;
    int rc = answer_create(context, &dev);

    if (rc)
        return rc;
    rc = vhost_backend_new(dev, context->memory, &ops, NULL, ret_backend);
    if (rc)
        vdev_destroy(&dev->dev);
    return rc ? rc : vhost_backend_serve(*ret_backend, fd);
}

/* -- the front end: the same device, elsewhere -- */

static const struct vdev_class front_class = { .name = "vhost-answer", .kind = VDEV_VIRTIO };

/* Greets the back end by stepping the loop that serves that one, too. */
static int connect_front(const struct vdev_context *context, int fd, struct virtio_dev **ret_dev)
{
    struct vhost_front_setup setup = { .id = VIRTIO_ID_RNG,
                                       .queues = 1,
                                       .queues_min = 1,
                                       .queue_size = QUEUE_SIZE,
                                       .fd = fd,
                                       .wait_ns = WAIT_NS,
                                       .reconnect_ns = UINT64_MAX };
    struct vhost_front *front;
    int rc = vhost_front_new(&front_class, context, &setup, NULL, &front);

    if (!rc)
        *ret_dev = vhost_front_dev(front);
    return rc;
}

/* -- the machine around it -- */

enum { RAM_BYTES = 1 << 16, WINDOW = 0x100000, DESC_AT = 0x1000, AVAIL_AT = 0x2000 };
enum { USED_AT = 0x3000, BUFFER_AT = 0x4000, DESC_F_WRITE = 2 };

/* No KVM here: the driver's kicks reach the front end through its register. */
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

static void drive(struct vdev_bus_reader *bus, struct vm_loop *loop, uint8_t *ram)
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
    /* The rings reach the back end by messages, and its interrupt comes by an eventfd. */
    for (int i = 0; i < 500 && !reg_read(bus, INTERRUPT_STATUS); i++)
        vm_loop_step(loop, STEP_NS);
    reg_write(bus, INTERRUPT_ACK, reg_read(bus, INTERRUPT_STATUS));
    printf("status %#x, used %u\n", reg_read(bus, STATUS),
           (unsigned)vm_load_le(ram + USED_AT + 2, 2));
    printf("the driver reads %u\n", ram[BUFFER_AT]);
}

/* -- all of it -- */

static int run(const struct vdev_context *front, const struct vdev_context *back, uint8_t *ram)
{
    struct vdev_irq irq = { .set = irq_set };
    struct vhost_backend *backend = NULL;
    struct vdev_bus_reader reader;
    struct virtio_mmio *mmio;
    struct virtio_dev *dev;
    int pair[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return vm_fail_errno("socketpair");
    rc = serve(back, pair[1], &backend);
    if (!rc)
        rc = connect_front(front, pair[0], &dev);
    if (!rc)
        rc = virtio_mmio_new(dev, front->mmio, WINDOW, &irq, &mmio);
    if (rc)
        return rc;
    vdev_bus_reader_init(front->mmio, &reader);
    drive(&reader, front->env->loop, ram);
    vdev_bus_reader_exit(&reader);
    virtio_mmio_free(mmio); /* and the front end with it: the back end sees the end of the socket */
    while (vhost_backend_busy(backend))
        vm_loop_step(front->env->loop, STEP_NS);
    vhost_backend_free(backend);
    return 0;
}

/* Guest memory that another process could map. */
static int make_ram(struct gm_space *space, uint8_t **ret_ram, struct gm_region **ret_region)
{
    struct gm_backing backing = { .kind = GM_FILE, .shared = true };
    int rc;

    backing.fd = memfd_create("ram", MFD_CLOEXEC);
    if (backing.fd < 0 || ftruncate(backing.fd, RAM_BYTES))
        return vm_fail_errno("guest memory");
    *ret_ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, backing.fd, 0);
    if (*ret_ram == MAP_FAILED)
        return vm_fail_errno("guest memory");
    rc = gm_region_new(0, RAM_BYTES, &backing, ret_region);
    close(backing.fd);
    return rc ? rc
              : gm_space_change(space, &(struct gm_change){ .add = ret_region, .add_count = 1 });
}

int main(void)
{
    struct vdev_machine machine = { .ops = &machine_ops };
    struct vdev_context front = { .id = "answer0", .machine = &machine }, back = front;
    struct gm_region *region = NULL;
    uint8_t *ram = NULL;
    struct vm_env env;
    int rc;

    vm_env_host(VM_LOG_WARN, &env);
    front.env = back.env = &env;
    rc = vm_loop_new(&env, 0, &env.loop);
    if (!rc)
        rc = gm_space_new(&env, &front.memory);
    if (!rc)
        rc = gm_space_new(&env, &back.memory);
    if (!rc)
        rc = make_ram(front.memory, &ram, &region);
    if (!rc)
        rc = vdev_bus_new(&env, "memory", UINT32_MAX, &front.mmio);
    if (!rc)
        rc = run(&front, &back, ram);
    if (rc) {
        fprintf(stderr, "vhost: %s\n", vm_error_text());
        return 1;
    }
    vdev_bus_free(front.mmio);
    gm_space_change(front.memory, &(struct gm_change){ .remove = &region, .remove_count = 1 });
    gm_region_unref(region);
    gm_space_free(front.memory);
    gm_space_free(back.memory);
    vm_loop_free(env.loop);
    munmap(ram, RAM_BYTES);
    return 0;
}
