/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A network device (VIRTIO 1.2, 5.1) that another program serves. There are two kinds of such programs:
 *
 *   - those that are the whole device, as ours: they have a configuration space (CONFIG), which says how many pairs of queues there are,
 *     and serve the control queue behind them;
 *   - those that move packets only, as DPDK, Open vSwitch and passt: what they offer of the control queue is meant for a front end that serves it
 *     for them. We do not, so a driver gets one pair of queues and none of what needs commands; MAC address and MTU are the
 *     user's.
 */
#include "vhost_user_private.h"

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>

#define BIT(n) (UINT64_C(1) << (n))
/* 5.1.3 */
#define NET_MTU     BIT(3)
#define NET_MAC     BIT(5)
#define NET_CTRL_VQ BIT(17)
#define NET_MQ      BIT(22)
#define NET_RSS     BIT(60)
/* 5.1.3.1: what needs the control queue: guest offloads, receive modes, VLANs, announcements, MAC, coalescing, hash reports. */
#define NET_COMMANDS                                                                             \
    (BIT(2) | NET_CTRL_VQ | BIT(18) | BIT(19) | BIT(20) | BIT(21) | NET_MQ | BIT(23) | BIT(52) | \
     BIT(53) | BIT(57) | NET_RSS)
/* What config space has to say something of: those, the link's state, its speed, and a standby. */
#define NET_WORDS (NET_MTU | NET_MAC | BIT(16) | BIT(62) | BIT(63))

enum { NET_STATUS = 6, NET_PAIRS = 8, NET_MTU_AT = 10, LINK_UP = 1 };

static int choose_words(const struct vhost_user_words *w, const struct vhost_front_there *there,
                        struct vhost_front_choice *choice)
{
    if (w->mtu && !there->stand_in && !(there->features & NET_MTU))
        return vm_fail(-ENOTSUP, "mtu=%u: the back end does not take one: leave it out", w->mtu);
    choice->refuse |= NET_COMMANDS | (NET_WORDS & ~(w->mtu ? NET_MTU : 0));
    choice->own = w->has_mac ? NET_MAC : 0;
    choice->queues = 2;
    return 0;
}

/* All of its pairs, for its control queue comes behind them; or the first one, behind which it comes for a driver without several (5.1.2). */
static int choose_whole(const struct vhost_user_words *w, const struct vhost_front_there *there,
                        struct vhost_front_choice *choice)
{
    uint32_t pairs =
        there->features & NET_MQ ? (uint32_t)vm_load_le(there->config + NET_PAIRS, 2) : 1;
    bool commands = there->features & NET_CTRL_VQ;

    if (w->has_mac || w->mtu)
        return vm_fail(-EINVAL,
                       "%s=: this back end says itself what the device is: give it to that, and "
                       "leave it out here",
                       w->has_mac ? "mac" : "mtu");
    if (!pairs || !commands || 2 * pairs + 1 > VHOST_USER_NET_QUEUES_MAX ||
        (w->queues && w->queues / 2 < pairs)) {
        choice->refuse |= NET_MQ | NET_RSS;
        pairs = 1;
    }
    choice->queues = (uint16_t)(2 * pairs + commands);
    return 0;
}

int vhost_user_net_choose(struct vhost_front *front, const struct vhost_front_there *there,
                          struct vhost_front_choice *choice)
{
    struct vhost_user_words *w = vhost_front_user(front);

    w->says_net = !there->config;
    return there->config ? choose_whole(w, there, choice) : choose_words(w, there, choice);
}

void vhost_user_net_config(struct vhost_front *front, uint8_t *config, uint32_t bytes)
{
    const struct vhost_user_words *w = vhost_front_user(front);

    if (!w->says_net || bytes < NET_MTU_AT + 2)
        return;
    memset(config, 0, bytes);
    memcpy(config, w->mac, sizeof(w->mac));
    vm_store_le(config + NET_STATUS, 2, LINK_UP);
    vm_store_le(config + NET_PAIRS, 2, 1);
    vm_store_le(config + NET_MTU_AT, 2, w->mtu);
}

int vhost_user_net_made(struct vhost_front *front)
{
    const struct vhost_user_words *w = vhost_front_user(front);
    struct vm_lock *lock = &vhost_front_dev(front)->dev.lock;
    int rc;

    if (!w->mtu)
        return 0;
    vm_lock_acquire(lock);
    rc = vhost_front_mtu(front, w->mtu);
    vm_lock_release(lock);
    return rc == -ENOTSUP ? 0 : rc; /* the driver keeps to what config space says */
}
