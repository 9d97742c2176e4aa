/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared by the library's tests and fuzzers: a device that echoes, holds, stops late or refuses, as the test says. */
#ifndef VIRTIO_TEST_H
#define VIRTIO_TEST_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "virtio_harness.h"
#include "virtio_private.h"

enum { LAB_QUEUES = 3, LAB_CONFIG = 12, LAB_SIZE = 64, LAB_HELD = 8 };
#define LAB_F_ONE (1ULL << 0)
#define LAB_F_TWO (1ULL << 51)

struct lab {
    struct virtio_dev dev;
    struct vq_pool *pool;
    struct vq_req *held[LAB_HELD];
    unsigned held_count;

    /* What it shall do. */
    int start_rc, kick_rc, load_rc, resume_rc;
    bool hold; /* keep the requests of queue 0 */
    bool stop_late, quiesce_late, queue_stop_late; /* -EINPROGRESS */
    bool quiet; /* no interrupts */

    /* What happened. */
    unsigned starts, resets, stops, queue_stops, quiesces, resumes, sets, writes, kicks[LAB_QUEUES];
    uint8_t written[LAB_CONFIG];
    uint32_t saved; /* its state */
};

struct lab_state {
    uint32_t value;
};
static const struct vm_state_field lab_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct lab_state, value) },
    { 0 },
};

static inline struct lab *lab_of(struct virtio_dev *dev)
{
    return container_of(dev, struct lab, dev);
}

static inline int lab_start(struct virtio_dev *dev)
{
    struct lab *lab = lab_of(dev);

    lab->starts++;
    return lab->start_rc ? vm_fail(lab->start_rc, "the lab does not start") : 0;
}

static inline void lab_drop(struct lab *lab)
{
    while (lab->held_count)
        vq_req_drop(lab->pool, lab->held[--lab->held_count]);
}

/* Returns what it kept. */
static inline void lab_finish(struct lab *lab)
{
    while (lab->held_count)
        vq_req_done(lab->pool, lab->held[--lab->held_count]);
    virtio_notify(&lab->dev, 0);
    virtio_queue_stopped(&lab->dev, 0);
}

static inline int lab_keep(struct lab *lab)
{
    struct vq_req *req;
    int rc = 0;

    while (lab->held_count < LAB_HELD &&
           (rc = vq_next_req(&lab->dev.queue[0], lab->pool, &req)) > 0)
        lab->held[lab->held_count++] = req;
    return rc < 0 ? rc : 0;
}

static inline int lab_echo(struct vq *q, struct vq_chain *c)
{
    uint8_t buf[256];
    uint64_t len = c->readable_bytes < c->writable_bytes ? c->readable_bytes : c->writable_bytes;

    if (len > sizeof(buf))
        len = sizeof(buf);
    if (!vq_pull(q, c, buf, (size_t)len))
        (void)vq_push(q, c, buf, (size_t)len);
    return vq_done(q, c);
}

static inline int lab_kick(struct virtio_dev *dev, uint16_t n)
{
    struct lab *lab = lab_of(dev);
    struct vq_chain c;
    int rc;

    lab->kicks[n]++;
    if (lab->kick_rc)
        return lab->kick_rc;
    if (lab->hold && !n)
        return lab_keep(lab);
    while ((rc = vq_next(&dev->queue[n], &c)) > 0) {
        rc = lab_echo(&dev->queue[n], &c);
        if (rc)
            return rc;
    }
    if (!lab->quiet)
        virtio_notify(dev, n);
    return rc;
}

static inline int lab_stop(struct virtio_dev *dev)
{
    struct lab *lab = lab_of(dev);

    lab->stops++;
    if (lab->stop_late)
        return -EINPROGRESS;
    lab_drop(lab);
    return 0;
}

static inline int lab_queue_stop(struct virtio_dev *dev, uint16_t n)
{
    struct lab *lab = lab_of(dev);

    lab->queue_stops++;
    return lab->queue_stop_late || (!n && lab->held_count) ? -EINPROGRESS : 0;
}

static inline void lab_reset(struct virtio_dev *dev)
{
    lab_of(dev)->resets++;
}

static inline int lab_quiesce(struct virtio_dev *dev)
{
    struct lab *lab = lab_of(dev);

    lab->quiesces++;
    if (lab->quiesce_late)
        return -EINPROGRESS;
    lab_finish(lab);
    return 0;
}

static inline int lab_resume(struct virtio_dev *dev)
{
    lab_of(dev)->resumes++;
    return lab_of(dev)->resume_rc;
}

static inline void lab_save(struct virtio_dev *dev, void *ret_state)
{
    ((struct lab_state *)ret_state)->value = lab_of(dev)->saved;
}

static inline int lab_load(struct virtio_dev *dev, const void *untrusted)
{
    const struct lab_state *s = untrusted;

    if (lab_of(dev)->load_rc)
        return vm_fail(lab_of(dev)->load_rc, "the lab does not load");
    lab_of(dev)->saved = s->value;
    return 0;
}

static inline int lab_set(struct virtio_dev *dev, const struct vm_prop *prop, const void *config)
{
    (void)prop;
    (void)config;
    lab_of(dev)->sets++;
    return 0;
}

static inline void lab_config_write(struct virtio_dev *dev, uint32_t offset, const uint8_t *data,
                                    uint32_t len)
{
    struct lab *lab = lab_of(dev);

    lab->writes++;
    memcpy(lab->written + offset, data, len);
}

static inline void lab_destroy(struct virtio_dev *dev)
{
    struct lab *lab = lab_of(dev);

    lab_drop(lab);
    vq_pool_free(lab->pool);
    virtio_exit(dev);
    free(lab);
}

static const struct virtio_ops lab_ops = {
    .start = lab_start,
    .kick = lab_kick,
    .stop = lab_stop,
    .queue_stop = lab_queue_stop,
    .reset = lab_reset,
    .config_write = lab_config_write,
    .quiesce = lab_quiesce,
    .resume = lab_resume,
    .save = lab_save,
    .load = lab_load,
    .set = lab_set,
    .destroy = lab_destroy,
};
/* Only what is mandatory. */
static const struct virtio_ops lab_plain_ops = { .kick = lab_kick, .destroy = lab_destroy };

static const struct vdev_class lab_class = {
    .name = "lab",
    .kind = VDEV_VIRTIO,
    .state = lab_fields,
    .state_size = sizeof(struct lab_state),
    .state_version = 1,
};

static inline struct lab *lab_make(struct vh *h, const struct virtio_ops *ops, uint16_t queues)
{
    static const uint16_t sizes[LAB_QUEUES] = { LAB_SIZE, LAB_SIZE, LAB_SIZE };
    const struct virtio_setup setup = { .id = VIRTIO_ID_CONSOLE,
                                        .features = LAB_F_ONE | LAB_F_TWO,
                                        .queue_sizes = sizes,
                                        .queues = queues,
                                        .config_bytes = LAB_CONFIG };
    struct lab *lab = calloc(1, sizeof(*lab));

    if (!lab)
        abort();
    if (virtio_init(&lab->dev, &lab_class, ops, &h->context, &setup) ||
        (queues && vq_pool_new(&lab->dev.queue[0], 0, &lab->pool)))
        abort();
    for (unsigned i = 0; i < LAB_CONFIG; i++)
        lab->dev.config[i] = (uint8_t)(0xc0 + i);
    return lab;
}

/* The machine with the lab in it. */
static inline struct lab *lab_open(struct vh *h, const struct vh_config *config)
{
    struct lab *lab;

    if (vh_open(h, config))
        abort();
    lab = lab_make(h, &lab_ops, LAB_QUEUES);
    if (vh_plug(h, &lab->dev))
        abort();
    return lab;
}

/* One request of 4 bytes in queue n: 4 when they came back right. */
static inline int lab_ask(struct vh *h, uint16_t n)
{
    struct fake_driver *drv = &h->drv[n];
    struct fake_buf b[2] = { { fake_driver_alloc(drv, 16), 4, false },
                             { fake_driver_alloc(drv, 16), 16, true } };
    char back[4] = "";
    int rc = fake_driver_write(drv, b[0].addr, "ping", 4);

    if (rc)
        return rc;
    rc = vh_request(h, n, b, 2);
    if (rc == 4 && (fake_driver_read(drv, b[1].addr, back, 4) || memcmp(back, "ping", 4)))
        return -EBADE;
    return rc;
}

#endif
