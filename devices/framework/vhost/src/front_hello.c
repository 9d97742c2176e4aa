/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a front end asks a back end that has just connected, one thing after the other. */
#include "front.h"

#include <errno.h>
#include <string.h>

static int next(struct vhost_front *f);

static int take_features(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    (void)queue;
    f->features = untrusted->payload.u64;
    return next(f);
}

static int ask_features(struct vhost_front *f)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_GET_FEATURES, 0);
    int rc = vhost_front_call(f, &m, 0, take_features);

    return rc ? rc : 1;
}

/* What we make use of, of what there is: without the socket for the back end's requests, none of what comes by it. */
static uint64_t choose_protocol(const struct vhost_front *f, uint64_t theirs)
{
    const uint64_t in_flight = FRONT_SKIP_DRAIN | VHOST_PROTOCOL(INFLIGHT_SHMFD);
    uint64_t p = theirs & FRONT_PROTOCOL;

    if ((p & in_flight) != in_flight)
        p &= ~FRONT_SKIP_DRAIN;
    if (!(p & VHOST_PROTOCOL(BACKEND_REQ)))
        p &= ~(VHOST_PROTOCOL(BACKEND_SEND_FD) | VHOST_PROTOCOL(SHARED_OBJECT));
    if (!(p & VHOST_PROTOCOL(BACKEND_SEND_FD)))
        p &= ~VHOST_PROTOCOL(SHMEM);
    if (p & VHOST_PROTOCOL(PAGEFAULT) && f->setup.postcopy)
        p &= ~VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS);
    else
        p &= ~VHOST_PROTOCOL(PAGEFAULT);
    return f->object.table ? p : p & ~VHOST_PROTOCOL(SHARED_OBJECT);
}

static int take_protocol(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    struct vhost_message m;
    int rc;

    (void)queue;
    m = vhost_front_number(VHOST_USER_SET_PROTOCOL_FEATURES,
                           choose_protocol(f, untrusted->payload.u64));
    rc = vhost_front_send(f, &m);
    if (rc)
        return rc;
    f->protocol = m.payload.u64;
    vhost_channel_set_protocol(f->channel, f->protocol);
    return next(f);
}

static int ask_protocol(struct vhost_front *f)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_GET_PROTOCOL_FEATURES, 0);
    int rc;

    f->protocol = 0;
    if (!(f->features & VHOST_FEATURE_PROTOCOL))
        return 0;
    rc = vhost_front_call(f, &m, 0, take_protocol);
    return rc ? rc : 1;
}

static int own(struct vhost_front *f)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_SET_OWNER, 0);

    return vhost_front_send(f, &m);
}

static int take_queues(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    uint64_t there = untrusted->payload.u64;

    (void)queue;
    f->queues_there = !f->setup.pairs            ? there
                      : there < VHOST_QUEUES_MAX ? there * 2 + 1
                                                 : VHOST_QUEUES_MAX;
    return next(f);
}

/* "Multiple queue support": without it a device has the queues that its type has. */
static int ask_queues(struct vhost_front *f)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_GET_QUEUE_NUM, 0);
    int rc;

    f->queues_there = f->setup.queues;
    if (!front_has(f, VHOST_PROTOCOL(MQ)))
        return 0;
    rc = vhost_front_call(f, &m, 0, take_queues);
    return rc ? rc : 1;
}

static int take_slots(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    (void)queue;
    f->slots_there = untrusted->payload.u64;
    return next(f);
}

static int ask_slots(struct vhost_front *f)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_GET_MAX_MEM_SLOTS, 0);
    int rc;

    f->slots_there = VHOST_TABLE_REGIONS;
    if (!front_has(f, VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS)))
        return 0;
    rc = vhost_front_call(f, &m, 0, take_slots);
    return rc ? rc : 1;
}

static int take_shmem(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    int rc = vhost_front_shmem_take(f, untrusted);

    (void)queue;
    return rc ? rc : next(f);
}

static int ask_shmem(struct vhost_front *f)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_GET_SHMEM_CONFIG, 0);
    int rc;

    memset(f->shmem_there, 0, sizeof(f->shmem_there));
    if (!front_has(f, VHOST_PROTOCOL(SHMEM)))
        return 0;
    rc = vhost_front_call(f, &m, 0, take_shmem);
    return rc ? rc : 1;
}

static int open_requests(struct vhost_front *f)
{
    return front_has(f, VHOST_PROTOCOL(BACKEND_REQ)) ? vhost_front_requests_open(f) : 0;
}

int vhost_front_config_ask(struct vhost_front *f,
                           int (*answered)(struct vhost_front *f, uint16_t queue,
                                           struct vhost_message *untrusted))
{
    uint32_t bytes = f->setup.config_bytes;
    struct vhost_message m =
        vhost_front_message(VHOST_USER_GET_CONFIG, VHOST_CONFIG_HEADER + bytes);

    m.payload.config.size = bytes;
    return vhost_front_call(f, &m, 0, answered);
}

int vhost_front_config_take(struct vhost_front *f, const struct vhost_message *untrusted)
{
    const struct vhost_config *c = &untrusted->payload.config;

    if (untrusted->size < VHOST_CONFIG_HEADER || c->size != f->setup.config_bytes || c->offset)
        return vm_fail(-EPROTO,
                       "the back end's config space does not have the %u bytes of this device",
                       f->setup.config_bytes);
    memcpy(f->config_there, c->bytes, c->size);
    return 0;
}

int vhost_front_choose(struct vhost_front *f)
{
    struct vhost_front_there there = { .features = f->features, .stand_in = f->stand_in };
    struct vhost_front_choice choice = { .queues = f->setup.queues, .refuse = f->setup.refuse };
    int rc = 0;

    if (f->setup.config_bytes && front_has(f, VHOST_PROTOCOL(CONFIG)))
        there.config = f->config_there;
    if (f->ops && f->ops->choose)
        rc = f->ops->choose(f, &there, &choice);
    if (choice.queues < f->setup.queues)
        f->setup.queues = choice.queues;
    f->setup.refuse = choice.refuse;
    f->own = choice.own;
    return rc;
}

static int take_config(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    int rc = vhost_front_config_take(f, untrusted);

    (void)queue;
    return rc ? rc : next(f);
}

static int ask_config(struct vhost_front *f)
{
    int rc;

    if (!f->setup.config_bytes || !front_has(f, VHOST_PROTOCOL(CONFIG)))
        return 0;
    rc = vhost_front_config_ask(f, take_config);
    return rc ? rc : 1;
}

static int (*const steps[])(struct vhost_front *f) = {
    /* 1: go on when the answer has come; 0: go on now */
    ask_features, ask_protocol, own, ask_queues, ask_slots, ask_shmem, open_requests, ask_config,
};

static int next(struct vhost_front *f)
{
    while (f->step < VM_ARRAY_SIZE(steps)) {
        int rc = steps[f->step++](f);

        if (rc)
            return rc < 0 ? rc : 0;
    }
    return vhost_front_greeted(f);
}

int vhost_front_hello(struct vhost_front *f)
{
    f->step = 0;
    return next(f);
}
