/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device behind a vhost-user back end, driven by the harness's driver. */
#include "vhost_harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the harness drives: without it features and state of the device are not the driver's to see. */
#define PROTOCOL                                                                      \
    (VHOST_PROTOCOL(MQ) | VHOST_PROTOCOL(REPLY_ACK) | VHOST_PROTOCOL(BACKEND_REQ) |   \
     VHOST_PROTOCOL(CONFIG) | VHOST_PROTOCOL(STATUS) | VHOST_PROTOCOL(RESET_DEVICE) | \
     VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS) | VHOST_PROTOCOL(DEVICE_STATE))
#define NOT_VIRTIO (VHOST_FEATURE_LOG_ALL | VHOST_FEATURE_PROTOCOL)
enum { ROUNDS_MAX = 100000 };

static void pump(void *ctx)
{
    struct vh *h = ctx;

    for (unsigned i = 0; i < ROUNDS_MAX && vm_loop_step(h->loop, 0) > 0; i++)
        ;
}

/* Closed sockets and whatever else goes wrong here is a failure of the back end. */
static void must(int rc)
{
    if (rc)
        abort();
}

static int other_open(struct vh *h)
{
    struct vhost_harness *v = calloc(1, sizeof(*v));
    int rc;

    if (!v)
        return -ENOMEM;
    h->other = v;
    rc = ffe_init(&v->front, h->config.ram_bytes, pump, h);
    if (!rc)
        rc = gm_space_new(&h->env, &h->device_memory);
    h->config.ram = v->front.ram;
    return rc;
}

static void other_close(struct vh *h)
{
    struct vhost_harness *v = h->other;

    if (h->device_memory)
        gm_space_free(h->device_memory);
    ffe_exit(&v->front);
    free(v);
    h->other = NULL;
}

static void closed(void *ctx, const struct vm_error *why)
{
    struct vhost_harness *v = ctx;

    v->why = *why;
    v->closed++;
}

int vhost_harness_connect(struct vh *h)
{
    struct vhost_harness *v = h->other;
    int fd = ffe_connect(&v->front), rc;

    memset(v->queue, 0, sizeof(v->queue));
    v->resetting = false;
    if (fd < 0)
        return fd;
    rc = vhost_backend_serve(v->backend, fd);
    if (!rc)
        rc = ffe_hello(&v->front, PROTOCOL);
    return rc ? rc : ffe_table(&v->front);
}

int vhost_harness_disconnect(struct vh *h)
{
    struct vhost_harness *v = h->other;

    ffe_disconnect(&v->front);
    for (unsigned i = 0; i < 100 && vhost_backend_busy(v->backend); i++) {
        pump(h);
        if (vhost_backend_busy(v->backend))
            (void)vm_loop_step(h->loop, 1000000000);
    }
    return vhost_backend_busy(v->backend) ? -ETIME : 0;
}

static int other_plug(struct vh *h, struct virtio_dev *dev)
{
    static const struct vhost_backend_ops ops = { .closed = closed };
    struct vhost_harness *v = h->other;
    int rc = vhost_backend_new(dev, h->device_memory, &ops, v, &v->backend);

    return rc ? rc : vhost_harness_connect(h);
}

static void other_unplug(struct vh *h)
{
    struct vhost_harness *v = h->other;

    must(vhost_harness_disconnect(h));
    vhost_backend_free(v->backend);
    v->backend = NULL;
}

static int other_probe(struct vh *h)
{
    (void)h;
    return 0;
}

static uint64_t other_offered(struct vh *h)
{
    return vhost_harness_of(h)->front.offered & ~NOT_VIRTIO;
}

/* A refusal is seen by the status. */
static void other_write_features(struct vh *h, uint64_t features)
{
    (void)ffe_set_features(&vhost_harness_of(h)->front, features);
}

static uint8_t other_status(struct vh *h)
{
    uint64_t status = 0;

    if (vhost_harness_of(h)->resetting)
        return VIRTIO_DRIVER_OK; /* not answered yet */
    must(ffe_get_u64(&vhost_harness_of(h)->front, VHOST_USER_GET_STATUS, &status));
    return (uint8_t)(status & UINT8_MAX);
}

static int other_set_status(struct vh *h, uint8_t status)
{
    struct vhost_harness *v = h->other;
    uint64_t value = status;
    struct vhost_message m = ffe_message(VHOST_USER_SET_STATUS, &value, sizeof(value));

    if (status)
        return ffe_do(&v->front, &m);
    m.flags |= VHOST_MESSAGE_NEED_REPLY;
    v->resetting = true;
    memset(v->queue, 0, sizeof(v->queue));
    return ffe_send(&v->front, &m);
}

static bool other_reset_ended(struct vh *h)
{
    struct vhost_harness *v = h->other;
    struct vhost_message m;

    if (v->resetting && !ffe_receive(&v->front, &m))
        v->resetting = false;
    return !v->resetting;
}

static uint16_t other_queues(struct vh *h)
{
    uint64_t queues = 0;

    must(ffe_get_u64(&vhost_harness_of(h)->front, VHOST_USER_GET_QUEUE_NUM, &queues));
    return (uint16_t)(queues & UINT16_MAX);
}

/* No message tells it: who composes front end and back end knows. */
static uint16_t other_queue_size_max(struct vh *h, uint16_t n)
{
    return n < h->virtio->queues ? h->virtio->queue[n].size_max : 0;
}

static bool other_queue_enabled(struct vh *h, uint16_t n)
{
    return n < VH_QUEUES && vhost_harness_of(h)->queue[n].enabled;
}

static void other_queue_set(struct vh *h, uint16_t n, uint16_t size, gpa_t desc, gpa_t driver,
                            gpa_t device)
{
    struct vhost_harness *v = h->other;

    v->queue[n].size = size;
    v->queue[n].desc = desc;
    v->queue[n].driver = driver;
    v->queue[n].device = device;
}

static void other_queue_enable(struct vh *h, uint16_t n)
{
    struct vhost_harness *v = h->other;
    uint32_t base = h->features & VQ_F_RING_PACKED ? 1U << 31 | 1U << 15 : 0;

    v->queue[n].enabled = !ffe_ring(&v->front, n, v->queue[n].size, v->queue[n].desc,
                                    v->queue[n].driver, v->queue[n].device, base) &&
                          !ffe_ring_on(&v->front, n);
}

static int other_kick(struct vh *h, uint16_t n)
{
    if (n < VH_QUEUES)
        ffe_kick(&vhost_harness_of(h)->front, n);
    return 0;
}

static void other_config_read(struct vh *h, uint32_t offset, void *data, uint32_t len)
{
    struct vhost_harness *v = h->other;
    struct vhost_config c = { .offset = offset, .size = len };
    struct vhost_message m = ffe_message(VHOST_USER_GET_CONFIG, &c, VHOST_CONFIG_HEADER + len);
    struct vhost_message reply;

    memset(data, 0, len);
    if (!(v->front.protocol & VHOST_PROTOCOL(CONFIG)))
        return;
    must(ffe_ask(&v->front, &m, &reply));
    if (reply.size == m.size)
        memcpy(data, reply.payload.config.bytes, len);
}

static void other_config_write(struct vh *h, uint32_t offset, const void *data, uint32_t len)
{
    struct vhost_harness *v = h->other;
    struct vhost_config c = { .offset = offset, .size = len };
    struct vhost_message m;

    if (!(v->front.protocol & VHOST_PROTOCOL(CONFIG)))
        return;
    memcpy(c.bytes, data, len);
    m = ffe_message(VHOST_USER_SET_CONFIG, &c, VHOST_CONFIG_HEADER + len);
    (void)ffe_do(&v->front, &m);
}

/* A device that needs a reset tells it by its rings' error descriptors too: one interrupt to the driver. */
static void other_take_interrupts(struct vh *h)
{
    struct vhost_harness *v = h->other;
    bool changed;

    ffe_take_requests(&v->front);
    changed = v->front.config_changes;
    v->front.config_changes = 0;
    for (uint16_t n = 0; n < VH_QUEUES; n++) {
        changed = ffe_errors(&v->front, n) || changed;
        if (!ffe_calls(&v->front, n))
            continue;
        h->queue_interrupts++;
        if (h->drv_made[n])
            fake_driver_notify(&h->drv[n]);
    }
    h->config_interrupts += changed;
}

const struct vh_other vh_vhost_user = {
    .open = other_open,
    .close = other_close,
    .plug = other_plug,
    .unplug = other_unplug,
    .probe = other_probe,
    .offered = other_offered,
    .write_features = other_write_features,
    .status = other_status,
    .set_status = other_set_status,
    .reset_ended = other_reset_ended,
    .queues = other_queues,
    .queue_size_max = other_queue_size_max,
    .queue_enabled = other_queue_enabled,
    .queue_set = other_queue_set,
    .queue_enable = other_queue_enable,
    .kick = other_kick,
    .config_read = other_config_read,
    .config_write = other_config_write,
    .take_interrupts = other_take_interrupts,
};
