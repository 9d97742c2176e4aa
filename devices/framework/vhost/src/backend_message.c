/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the front end's messages do ("Front-end message types"), but those about rings and memory, which stand there. */
#include "backend_private.h"

#include <errno.h>
#include <string.h>

#include <vmm/virtio/shm.h>

/* What only some devices have is offered for them: no configuration space, no CONFIG, or some front ends would complain. */
static uint64_t our_protocol(const struct vhost_backend *b)
{
    uint64_t p = VHOST_PROTOCOL(MQ) | VHOST_PROTOCOL(LOG_SHMFD) | VHOST_PROTOCOL(REPLY_ACK) |
                 VHOST_PROTOCOL(BACKEND_REQ) | VHOST_PROTOCOL(RESET_DEVICE) |
                 VHOST_PROTOCOL(INBAND_NOTIFICATIONS) | VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS) |
                 VHOST_PROTOCOL(STATUS) | VHOST_PROTOCOL(GPA_ADDRESSES) |
                 VHOST_PROTOCOL(INFLIGHT_SHMFD) | VHOST_PROTOCOL(GET_VRING_BASE_INFLIGHT) |
                 VHOST_PROTOCOL(GET_VRING_BASE_SKIP_DRAIN) | VHOST_PROTOCOL(DEVICE_STATE);

    p |= b->dev->config_bytes ? VHOST_PROTOCOL(CONFIG) : 0;
    p |= b->dev->ops->announce ? VHOST_PROTOCOL(RARP) : 0;
    if (virtio_shm_count(b->dev))
        p |= VHOST_PROTOCOL(SHMEM) | VHOST_PROTOCOL(BACKEND_SEND_FD);
    p |= b->ops->userfault ? VHOST_PROTOCOL(PAGEFAULT) : 0;
    p |= b->dev->ops->object_get ? VHOST_PROTOCOL(SHARED_OBJECT) : 0;
    p |= b->dev->ops->set_mtu ? VHOST_PROTOCOL(MTU) : 0;
    return p;
}

static int reply(struct vhost_backend *b, const struct vhost_message *m, uint64_t value)
{
    struct vhost_message r = { .request = m->request,
                               .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                               .size = sizeof(uint64_t) };

    r.payload.u64 = value;
    (void)vhost_channel_send(b->channel, &r);
    return 0;
}

/* ---- features ---- */

static uint64_t our_features(const struct vhost_backend *b)
{
    return virtio_offered(b->dev) | VHOST_NOT_THE_DEVICES;
}

static int get_features(struct vhost_backend *b, struct vhost_message *m)
{
    return reply(b, m, our_features(b));
}

static void features_set(struct vhost_backend *b)
{
    vhost_backend_answer(b, 0);
}

/* While rings run only the logging may change. A device that was used with other features, or that its driver broke, begins anew. */
static int set_features(struct vhost_backend *b, struct vhost_message *m)
{
    uint64_t features = m->payload.u64;
    bool active = vhost_backend_rings_active(b), begun = b->dev->status & VIRTIO_FEATURES_OK;

    if (features & ~our_features(b))
        return vm_fail(-EINVAL, "SET_FEATURES: %#llx, but %#llx are offered",
                       (unsigned long long)features, (unsigned long long)our_features(b));
    if (active && (features ^ b->features) & ~VHOST_FEATURE_LOG_ALL)
        return vm_fail(-EBUSY, "SET_FEATURES: rings run with %#llx",
                       (unsigned long long)b->features);
    if (features & VIRTIO_FEATURE_ACCESS_PLATFORM && !(b->protocol & VHOST_PROTOCOL(BACKEND_REQ)))
        return vm_fail(-EINVAL, "SET_FEATURES: VIRTIO_F_ACCESS_PLATFORM needs BACKEND_REQ, for the "
                                "questions that it brings");
    b->features = features;
    vhost_backend_iotlb_update(b);
    vhost_backend_enable_all(b);
    vhost_backend_log_update(b);
    if (active || !begun ||
        ((features & ~VHOST_NOT_THE_DEVICES) == b->dev->features &&
         !(b->dev->status & VIRTIO_NEEDS_RESET)))
        return 0;
    vhost_backend_reset_then(b, features_set);
    return vhost_backend_later(b, m);
}

static int get_protocol(struct vhost_backend *b, struct vhost_message *m)
{
    return reply(b, m, our_protocol(b));
}

static int set_protocol(struct vhost_backend *b, struct vhost_message *m)
{
    const uint64_t needed = VHOST_PROTOCOL(BACKEND_REQ) | VHOST_PROTOCOL(REPLY_ACK);
    const uint64_t in_flight =
        VHOST_PROTOCOL(INFLIGHT_SHMFD) | VHOST_PROTOCOL(GET_VRING_BASE_INFLIGHT);
    uint64_t p = m->payload.u64;

    if (p & ~our_protocol(b))
        return vm_fail(-EINVAL, "SET_PROTOCOL_FEATURES: %#llx, but %#llx are offered",
                       (unsigned long long)p, (unsigned long long)our_protocol(b));
    if (p & VHOST_PROTOCOL(INBAND_NOTIFICATIONS) && (p & needed) != needed)
        return vm_fail(-EINVAL, "SET_PROTOCOL_FEATURES: INBAND_NOTIFICATIONS needs BACKEND_REQ "
                                "and REPLY_ACK");
    if (p & VHOST_PROTOCOL(GET_VRING_BASE_SKIP_DRAIN) && (p & in_flight) != in_flight)
        return vm_fail(-EINVAL, "SET_PROTOCOL_FEATURES: GET_VRING_BASE_SKIP_DRAIN needs "
                                "INFLIGHT_SHMFD and GET_VRING_BASE_INFLIGHT");
    if (vhost_backend_rings_active(b))
        return vm_fail(-EBUSY, "SET_PROTOCOL_FEATURES: rings run");
    b->protocol = p;
    vhost_channel_set_protocol(b->channel, p);
    if (b->back)
        vhost_channel_set_protocol(b->back, p);
    return 0;
}

static int get_queue_num(struct vhost_backend *b, struct vhost_message *m)
{
    return reply(b, m, b->dev->queues);
}

/* SET_OWNER says nothing that the connection does not; RESET_OWNER is "either ignored", or worse. */
static int ignore(struct vhost_backend *b, struct vhost_message *m)
{
    (void)b;
    (void)m;
    return 0;
}

/* ---- configuration space ---- */

/* What lies behind the device's space is read as zeros: front ends ask for what their version of the struct has. */
static int get_config(struct vhost_backend *b, struct vhost_message *m)
{
    const struct vhost_config *c = &m->payload.config;
    struct vhost_message r = { .request = m->request,
                               .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY };

    if (vm_range_in(c->offset, c->size, VHOST_CONFIG_MAX)) {
        r.size = m->size; /* it "MUST match the front-end's request" */
        r.payload.config.offset = c->offset;
        r.payload.config.size = c->size;
        r.payload.config.flags = c->flags;
        vhost_backend_lock(b);
        virtio_config_read(b->dev, c->offset, r.payload.config.bytes, c->size);
        vhost_backend_unlock(b);
    }
    (void)vhost_channel_send(b->channel, &r);
    return 0;
}

/* Devices ignore writes to what their drivers may only read, with the flag for migration too: what they show there is their own. */
static int set_config(struct vhost_backend *b, struct vhost_message *m)
{
    const struct vhost_config *c = &m->payload.config;

    if (c->flags > VHOST_CONFIG_MIGRATION || !vm_range_in(c->offset, c->size, b->dev->config_bytes))
        return vm_fail(-EINVAL, "SET_CONFIG: %u bytes at %u of %u, flags %#x", c->size, c->offset,
                       b->dev->config_bytes, c->flags);
    vhost_backend_lock(b);
    virtio_config_write(b->dev, c->offset, c->bytes, c->size);
    vhost_backend_unlock(b);
    return 0;
}

/* ---- status and reset ---- */

static void reset_done(struct vhost_backend *b)
{
    vhost_backend_rings_forget(b);
    vhost_backend_answer(b, 0);
}

static int reset_device(struct vhost_backend *b, struct vhost_message *m)
{
    for (uint16_t n = 0; n < b->dev->queues; n++) {
        b->ring[n].enable_set = true; /* "disable all rings" */
        b->ring[n].enable = false;
    }
    vhost_backend_reset_then(b, reset_done);
    return vhost_backend_later(b, m);
}

static int get_status(struct vhost_backend *b, struct vhost_message *m)
{
    uint8_t status;

    vhost_backend_lock(b);
    status = virtio_status(b->dev);
    vhost_backend_unlock(b);
    return reply(b, m, status);
}

static int set_status(struct vhost_backend *b, struct vhost_message *m)
{
    uint64_t features = b->features & ~VHOST_NOT_THE_DEVICES;

    if (m->payload.u64 > UINT8_MAX)
        return vm_fail(-EINVAL, "SET_STATUS: %#llx", (unsigned long long)m->payload.u64);
    if (!m->payload.u64) {
        vhost_backend_reset_then(b, reset_done);
        return vhost_backend_later(b, m);
    }
    vhost_backend_lock(b);
    virtio_set_driver_features(b->dev, 0, (uint32_t)(features & UINT32_MAX));
    virtio_set_driver_features(b->dev, 1, (uint32_t)(features >> 32));
    (void)virtio_set_status(b->dev, (uint8_t)m->payload.u64);
    vhost_backend_unlock(b);
    return 0;
}

static int get_slots(struct vhost_backend *b, struct vhost_message *m)
{
    return reply(b, m, GM_REGIONS_MAX);
}

/* ---- network devices ---- */

static int send_rarp(struct vhost_backend *b, struct vhost_message *m)
{
    int rc;

    vhost_backend_lock(b);
    rc = b->dev->ops->announce(b->dev, m->payload.bytes);
    vhost_backend_unlock(b);
    return rc;
}

static int set_mtu(struct vhost_backend *b, struct vhost_message *m)
{
    uint64_t mtu = m->payload.u64;
    int rc;

    if (mtu < VIRTIO_NET_MTU_LEAST || mtu > UINT16_MAX)
        return vm_fail(-EINVAL, "NET_SET_MTU: %llu, not within %d to %d", (unsigned long long)mtu,
                       VIRTIO_NET_MTU_LEAST, UINT16_MAX);
    vhost_backend_lock(b);
    rc = b->dev->ops->set_mtu(b->dev, (uint16_t)mtu);
    vhost_backend_unlock(b);
    return rc;
}

/* ---- all of them ---- */

static int (*const handlers[VHOST_FRONT_REQUESTS])(struct vhost_backend *b,
                                                   struct vhost_message *m) = {
    [VHOST_USER_GET_FEATURES] = get_features,
    [VHOST_USER_SET_FEATURES] = set_features,
    [VHOST_USER_SET_OWNER] = ignore,
    [VHOST_USER_RESET_OWNER] = ignore,
    [VHOST_USER_SET_MEM_TABLE] = vhost_backend_set_table,
    [VHOST_USER_SET_LOG_BASE] = vhost_backend_set_log,
    [VHOST_USER_SET_LOG_FD] = ignore, /* who reads the log need not be told of it */
    [VHOST_USER_SET_VRING_NUM] = vhost_backend_set_num,
    [VHOST_USER_SET_VRING_ADDR] = vhost_backend_set_addr,
    [VHOST_USER_SET_VRING_BASE] = vhost_backend_set_base,
    [VHOST_USER_GET_VRING_BASE] = vhost_backend_get_base,
    [VHOST_USER_SET_VRING_KICK] = vhost_backend_set_kick,
    [VHOST_USER_SET_VRING_CALL] = vhost_backend_set_call,
    [VHOST_USER_SET_VRING_ERR] = vhost_backend_set_err,
    [VHOST_USER_GET_PROTOCOL_FEATURES] = get_protocol,
    [VHOST_USER_SET_PROTOCOL_FEATURES] = set_protocol,
    [VHOST_USER_GET_QUEUE_NUM] = get_queue_num,
    [VHOST_USER_SET_VRING_ENABLE] = vhost_backend_set_enable,
    [VHOST_USER_SEND_RARP] = send_rarp,
    [VHOST_USER_NET_SET_MTU] = set_mtu,
    [VHOST_USER_SET_BACKEND_REQ_FD] = vhost_backend_set_back,
    [VHOST_USER_IOTLB_MSG] = vhost_backend_iotlb,
    [VHOST_USER_GET_CONFIG] = get_config,
    [VHOST_USER_SET_CONFIG] = set_config,
    [VHOST_USER_POSTCOPY_ADVISE] = vhost_backend_postcopy_advise,
    [VHOST_USER_POSTCOPY_LISTEN] = vhost_backend_postcopy_listen,
    [VHOST_USER_POSTCOPY_END] = vhost_backend_postcopy_end,
    [VHOST_USER_GET_INFLIGHT_FD] = vhost_backend_get_inflight,
    [VHOST_USER_SET_INFLIGHT_FD] = vhost_backend_set_inflight,
    [VHOST_USER_RESET_DEVICE] = reset_device,
    [VHOST_USER_VRING_KICK] = vhost_backend_kick,
    [VHOST_USER_GET_MAX_MEM_SLOTS] = get_slots,
    [VHOST_USER_ADD_MEM_REG] = vhost_backend_add_region,
    [VHOST_USER_REM_MEM_REG] = vhost_backend_remove_region,
    [VHOST_USER_SET_STATUS] = set_status,
    [VHOST_USER_GET_STATUS] = get_status,
    [VHOST_USER_GET_SHARED_OBJECT] = vhost_backend_get_object,
    [VHOST_USER_GET_SHMEM_CONFIG] = vhost_backend_get_shmem,
    [VHOST_USER_SET_DEVICE_STATE_FD] = vhost_backend_state_begin,
    [VHOST_USER_CHECK_DEVICE_STATE] = vhost_backend_state_check,
    [VHOST_USER_GET_VRING_BASE_SKIP_DRAIN] = vhost_backend_get_base,
};

static bool wants_ack(const struct vhost_backend *b, const struct vhost_message *m)
{
    const struct vhost_rule *rule = vhost_message_rule(VHOST_FRONT, m->request);

    return rule && rule->answer == VHOST_ANSWER_ACK && m->flags & VHOST_MESSAGE_NEED_REPLY &&
           b->protocol & VHOST_PROTOCOL(REPLY_ACK);
}

int vhost_backend_finish(struct vhost_backend *b, const struct vhost_message *m, int rc)
{
    bool ack = wants_ack(b, m);

    if (rc && !ack)
        return rc;
    if (rc)
        vm_log_limited(b->env, &b->complaints, VM_LOG_WARN, "%s: vhost-user: %s", b->dev->dev.id,
                       vm_error_text());
    if (ack)
        (void)vhost_channel_ack(b->channel, m, rc ? 1 : 0);
    return 0;
}

int vhost_backend_message(struct vhost_backend *b, struct vhost_message *m)
{
    char text[24];
    int rc;

    if (m->request < VHOST_FRONT_REQUESTS && handlers[m->request])
        rc = handlers[m->request](b, m);
    else
        rc = vm_fail(-EOPNOTSUPP, "%s: not offered",
                     vhost_message_name(VHOST_FRONT, m->request, text));
    if (rc == -EINPROGRESS)
        return 0;
    if (!rc)
        vhost_backend_settle(b);
    return vhost_backend_finish(b, m, rc);
}
