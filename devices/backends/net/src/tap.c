/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Open tap and macvtap interfaces (Documentation/networking/tuntap.rst): one fd per queue, each read and write one frame behind a
 * virtio_net_hdr. Edge-triggered: who reads until there is nothing more hears of the next frame.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>

#include "net_private.h"

/* linux/if_tun.h has the last two since 6.2. */
enum { OFFLOADS_OLD = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO };
_Static_assert(VNET_CSUM == TUN_F_CSUM && VNET_TSO4 == TUN_F_TSO4 && VNET_TSO6 == TUN_F_TSO6 &&
                   VNET_ECN == TUN_F_TSO_ECN && VNET_UFO == TUN_F_UFO,
               "net.h says so");

enum { LENT_PIECES = 4 };

struct tap;
struct tap_queue {
    struct tap *tap;
    struct vm_watch watch;
    int fd;
    bool on, known; /* attached; a process before this one may have left it otherwise */
    bool lent; /* vnet_lend() */
};

struct tap {
    struct vnet net;
    const struct vm_env *env;
    const struct vnet_events *events;
    void *ctx;
    char name[VNET_NAME];
    bool header; /* the file has virtio_net_hdr */
    unsigned pairs;
    struct tap_queue queue[VNET_QUEUES_MAX];
};

static struct tap *tap_of(struct vnet *net)
{
    return container_of(net, struct tap, net);
}

static void gone(struct tap *tap)
{
    if (!tap->net.info.link)
        return;
    tap->net.info.link = false;
    vm_log(tap->env, VM_LOG_WARN, "%s: its interface is gone: the link is down", tap->name);
}

/* The kernel says EBADFD for an interface that was deleted, EIO for one that is down. */
static ssize_t failed(struct tap *tap)
{
    int code = errno;

    if (code == EBADFD)
        gone(tap);
    return code == EAGAIN || code == EIO ? -EAGAIN : -code;
}

static ssize_t tap_receive(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    struct tap *tap = tap_of(net);
    ssize_t n;

    do {
        n = readv(tap->queue[queue].fd, tap->header ? iov : iov + 1,
                  tap->header ? count : count - 1);
    } while (n < 0 && errno == EINTR); /* nobody tells again that something is there */
    if (n < 0)
        return failed(tap);
    if (!tap->header) {
        memset(iov[0].iov_base, 0, VNET_HEADER);
        return n;
    }
    return n < VNET_HEADER ? -EAGAIN : n - VNET_HEADER;
}

/* What we still say ourselves (an announcement) is short. */
static int send_lent(struct tap_queue *q, const struct iovec *iov, int count)
{
    static uint8_t more[VNET_HEADER_LENT - VNET_HEADER];
    struct iovec all[LENT_PIECES];

    if (count >= LENT_PIECES)
        return -EMSGSIZE;
    all[0] = iov[0];
    all[1] = (struct iovec){ more, sizeof(more) };
    memcpy(all + 2, iov + 1, (size_t)(count - 1) * sizeof(*iov));
    return writev(q->fd, all, count + 1) < 0 ? -errno : 0;
}

static int tap_send(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    struct tap *tap = tap_of(net);
    ssize_t n;

    if (tap->queue[queue].lent)
        return send_lent(&tap->queue[queue], iov, count);
    do {
        n = writev(tap->queue[queue].fd, tap->header ? iov : iov + 1,
                   tap->header ? count : count - 1);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return 0;
    if (errno == EBADFD)
        gone(tap);
    return -errno;
}

static int set_each(struct tap *tap, unsigned long request, unsigned long value)
{
    for (unsigned n = 0; n < tap->pairs; n++)
        if (ioctl(tap->queue[n].fd, request, value))
            return -errno;
    return 0;
}

static int tap_set_offloads(struct vnet *net, unsigned offloads)
{
    return tap_of(net)->header ? set_each(tap_of(net), TUNSETOFFLOAD, offloads) : 0;
}

/* EINVAL: it is so already, as a process that has died left it. */
static int switch_queue(struct tap_queue *q, bool on)
{
    struct ifreq r = { .ifr_flags = (short)(on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE) };

    if (q->known && q->on == on)
        return 0;
    if (ioctl(q->fd, TUNSETQUEUE, &r) && errno != EINVAL)
        return -errno;
    q->on = on;
    q->known = true;
    return 0;
}

static int tap_set_queues(struct vnet *net, unsigned pairs)
{
    struct tap *tap = tap_of(net);
    int rc = 0;

    for (unsigned n = 0; n < tap->pairs && !rc; n++)
        rc = switch_queue(&tap->queue[n], n < pairs);
    return rc;
}

/* The size of headers is the file's, so it is not for a moment another than its reader's: the first lender is the last reader. */
static int tap_lend(struct vnet *net, unsigned queue)
{
    struct tap *tap = tap_of(net);
    struct tap_queue *q = &tap->queue[queue];
    int size = VNET_HEADER_LENT;

    if (!tap->header)
        return vm_fail(-ENOTSUP, "the interface was opened without IFF_VNET_HDR, which vhost-net "
                                 "needs: open it with that");
    if (ioctl(q->fd, TUNSETVNETHDRSZ, &size))
        return vm_fail_errno("TUNSETVNETHDRSZ");
    vm_watch_set(&q->watch, EPOLLERR); /* that it was deleted is ours to tell */
    q->lent = true;
    return q->fd;
}

static void tap_close(struct vnet *net)
{
    struct tap *tap = tap_of(net);

    for (unsigned n = 0; n < tap->pairs; n++) {
        vm_watch_del(&tap->queue[n].watch);
        (void)switch_queue(&tap->queue[n], true); /* as whoever is next expects it */
        vm_close(&tap->queue[n].fd);
    }
    free(tap);
}

static void on_ready(struct vm_watch *watch, uint32_t events)
{
    struct tap_queue *q = container_of(watch, struct tap_queue, watch);
    struct tap *tap = q->tap;
    unsigned n = (unsigned)(q - tap->queue);

    if (events & EPOLLERR) { /* the interface was deleted */
        vm_watch_set(watch, 0);
        gone(tap);
        tap->events->link(tap->ctx);
        return;
    }
    if (events & EPOLLIN)
        tap->events->readable(tap->ctx, n);
    if (events & EPOLLOUT)
        tap->events->writable(tap->ctx, n);
}

/* ---- opening ---- */

static int check_file(struct tap *tap, int fd)
{
    struct ifreq r = { 0 };
    int size = VNET_HEADER;

    if (ioctl(fd, TUNGETIFF, &r))
        return vm_fail(-EINVAL, "what fd= gives is neither an open tap or macvtap interface nor a "
                                "stream socket");
    if (!(r.ifr_flags & IFF_TAP))
        return vm_fail(-EINVAL, "%s is a tun interface, which has no Ethernet frames: give a tap",
                       r.ifr_name);
    if (!(r.ifr_flags & IFF_NO_PI))
        return vm_fail(-EINVAL, "%s was opened without IFF_NO_PI: open it with that", r.ifr_name);
    tap->header = r.ifr_flags & IFF_VNET_HDR;
    if (tap->header && ioctl(fd, TUNSETVNETHDRSZ, &size))
        return vm_fail_errno("%s: TUNSETVNETHDRSZ", r.ifr_name);
    return fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) ? vm_fail_errno("%s", r.ifr_name) : 0;
}

/* What this kernel knows is found by asking for it. */
static void find_offloads(struct tap *tap)
{
    unsigned all = OFFLOADS_OLD | VNET_USO4 | VNET_USO6;

    if (!tap->header)
        return;
    while (all && tap_set_offloads(&tap->net, all))
        all = all == OFFLOADS_OLD             ? OFFLOADS_OLD & ~(unsigned)TUN_F_UFO
              : all & (VNET_USO4 | VNET_USO6) ? OFFLOADS_OLD
                                              : 0;
    (void)tap_set_offloads(&tap->net, 0);
    tap->net.info.takes = tap->net.info.gives = all;
}

static int start_queue(struct tap *tap, unsigned n)
{
    struct tap_queue *q = &tap->queue[n];
    bool had_header = tap->header;
    int rc = check_file(tap, q->fd);

    q->tap = tap;
    if (!rc && n && had_header != tap->header)
        rc = vm_fail(-EINVAL,
                     "fd=: one interface was opened with IFF_VNET_HDR and one without: open "
                     "all of them with it");
    return rc ? rc
              : vm_watch_add(tap->env->loop, &q->watch, q->fd, EPOLLIN | EPOLLOUT | EPOLLET,
                             on_ready);
}

int vnet_tap_new(const struct vnet_setup *setup, const int *fds, struct vnet **ret_net)
{
    static const struct vnet_ops ops = { .receive = tap_receive,
                                         .send = tap_send,
                                         .set_offloads = tap_set_offloads,
                                         .set_queues = tap_set_queues,
                                         .lend = tap_lend,
                                         .close = tap_close };
    struct tap *tap = calloc(1, sizeof(*tap));
    int rc = 0;

    if (!tap) {
        for (unsigned n = 0; n < setup->pairs; n++)
            close(fds[n]);
        return vm_fail(-ENOMEM, "out of memory");
    }
    tap->net.ops = &ops;
    tap->net.info =
        (struct vnet_info){ .link = true, .multi = setup->pairs > 1, .frame_max = VNET_FRAME_MAX };
    tap->env = setup->env;
    tap->events = setup->events;
    tap->ctx = setup->ctx;
    tap->pairs = setup->pairs;
    snprintf(tap->name, sizeof(tap->name), "%s", setup->name);
    for (unsigned n = 0; n < tap->pairs; n++)
        tap->queue[n].fd = fds[n];
    for (unsigned n = 0; n < tap->pairs && !rc; n++)
        rc = start_queue(tap, n);
    if (rc) {
        tap_close(&tap->net);
        return rc;
    }
    find_offloads(tap);
    *ret_net = &tap->net;
    return 0;
}
