/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Network back ends: what the options say, and which one it is. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/tap.h>

#include "filter_private.h"

const char *const vnet_modes[] = { "auto", "none", "tap", "fd", "socket", "user", NULL };

/* ---- options ---- */

enum vnet_mode vnet_mode_of(const struct vnet_config *config)
{
    if (config->mode != VNET_AUTO)
        return (enum vnet_mode)config->mode;
    if (config->tap)
        return VNET_TAP;
    if (config->fd.count)
        return VNET_FD;
    return config->socket ? VNET_SOCKET : VNET_AUTO;
}

static struct vm_tap tap_of(const struct vnet_config *config, unsigned pairs, unsigned n)
{
    return (struct vm_tap){ .name = config->tap,
                            .ip = config->ip,
                            .mask = config->mask,
                            .mac = config->host_mac,
                            .mtu = config->mtu,
                            .queue = n,
                            .multi = pairs > 1 };
}

int vnet_tap_name(const struct vnet_config *config, unsigned pairs, unsigned n, char *ret_text)
{
    struct vm_tap tap = tap_of(config, pairs, n);

    return vm_tap_text(&tap, ret_text);
}

bool vnet_starts_program(const struct vnet_config *config)
{
    return vnet_mode_of(config) == VNET_USER;
}

static bool is_user_text(const struct vnet_config *config, const char *untrusted)
{
    char text[VNET_USER_TEXT_MAX];

    return !vnet_user_text(config, text) && !strcmp(text, untrusted);
}

bool vnet_may_open(const struct vnet_config *config, unsigned pairs, const char *untrusted,
                   unsigned how)
{
    char text[VM_TAP_TEXT_MAX];

    if (how == (VM_OPEN_DIAL | VM_OPEN_CONNECT))
        return vnet_mode_of(config) == VNET_SOCKET && !config->server &&
               !strcmp(config->socket, untrusted);
    if (how == VM_OPEN_USER)
        return vnet_starts_program(config) && is_user_text(config, untrusted);
    if (how != VM_OPEN_TAP || vnet_mode_of(config) != VNET_TAP)
        return false;
    for (unsigned n = 0; n < pairs; n++)
        if (!vnet_tap_name(config, pairs, n, text) && !strcmp(text, untrusted))
            return true;
    return false;
}

static const char *stray_of_user(const struct vnet_config *c)
{
    const struct {
        bool given;
        const char *name;
    } rows[] = { { c->forward.count, "forward" }, { c->guest_ip.count, "guest_ip" },
                 { c->guest_mask, "guest_mask" }, { c->gateway.count, "gateway" },
                 { c->dns.count, "dns" },         { c->dns_forward.count, "dns_forward" },
                 { c->interface, "interface" },   { c->family, "family" },
                 { c->hide_host, "hide_host" } };

    for (size_t i = 0; i < VM_ARRAY_SIZE(rows); i++)
        if (rows[i].given)
            return rows[i].name;
    return NULL;
}

/* An option that has no meaning with the mode. */
static const char *stray(const struct vnet_config *c, enum vnet_mode mode)
{
    if (mode != VNET_TAP) {
        if (c->tap)
            return "tap";
        if (c->ip || c->mask)
            return c->ip ? "ip" : "mask";
        if (c->host_mac)
            return "host_mac";
    }
    if (mode != VNET_FD && c->fd.count)
        return "fd";
    if (mode != VNET_SOCKET && (c->socket || c->server))
        return c->socket ? "socket" : "server";
    return mode != VNET_USER ? stray_of_user(c) : NULL;
}

static int check_mode(const struct vnet_config *c, enum vnet_mode mode)
{
    const char *word = stray(c, mode);

    if (mode == VNET_AUTO)
        return vm_fail(-EINVAL, "what is it connected to? Give tap=NAME, fd=N, socket=PATH, "
                                "mode=user, or mode=none for a cable that is not plugged in");
    if (mode > VNET_USER)
        return vm_fail(-EINVAL, "mode %u is unknown", mode);
    if (word)
        return vm_fail(-EINVAL, "%s= has no meaning with %s%s: leave one of them out", word,
                       c->mode == VNET_AUTO ? "" : "mode=", vnet_modes[mode]);
    if (mode == VNET_TAP && !c->tap)
        return vm_fail(-EINVAL, "mode=tap needs tap=NAME");
    if (mode == VNET_FD && !c->fd.count)
        return vm_fail(-EINVAL, "mode=fd needs fd=N");
    if (mode == VNET_SOCKET && !c->socket)
        return vm_fail(-EINVAL, "mode=socket needs socket=PATH");
    return 0;
}

int vnet_check(const struct vnet_config *config, unsigned pairs)
{
    enum vnet_mode mode = vnet_mode_of(config);
    struct vm_tap tap = tap_of(config, pairs, 0);
    char text[VNET_USER_TEXT_MAX];
    int rc = check_mode(config, mode);

    if (!rc)
        rc = vnet_filter_check(&config->filter);
    if (rc)
        return rc;
    if (config->mtu && config->mtu < 68)
        return vm_fail(-ERANGE, "mtu=%u: it can be 68 to 65535", config->mtu);
    if (mode == VNET_FD && config->fd.count != pairs)
        return vm_fail(-EINVAL,
                       "%u fds for %u queues: give one fd for each two queues, as in "
                       "fd=[5,6],num_queues=4",
                       config->fd.count, 2 * pairs);
    if ((mode == VNET_SOCKET || mode == VNET_NONE || mode == VNET_USER) && pairs > 1)
        return vm_fail(-EINVAL, "num_queues=%u: a %s has 2 queues only", 2 * pairs,
                       mode == VNET_NONE ? "device without link" : "socket");
    if (mode == VNET_USER)
        return vnet_user_text(config, text);
    return mode == VNET_TAP ? vm_tap_check(&tap) : 0;
}

/* ---- nothing ---- */

static ssize_t none_receive(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    (void)net;
    (void)queue;
    (void)iov;
    (void)count;
    return -EAGAIN;
}

static int none_send(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    (void)net;
    (void)queue;
    (void)iov;
    (void)count;
    return -ENETDOWN;
}

static void none_close(struct vnet *net)
{
    free(net);
}

static int none_new(unsigned pairs, bool as_tap, struct vnet **ret_net)
{
    static const struct vnet_ops ops = { .receive = none_receive,
                                         .send = none_send,
                                         .close = none_close };
    struct vnet *net = calloc(1, sizeof(*net));

    if (!net)
        return vm_fail(-ENOMEM, "out of memory");
    net->ops = &ops;
    net->info = (struct vnet_info){ .multi = pairs > 1, .frame_max = VNET_FRAME_MAX };
    if (as_tap) /* of a plan: it shows what the guest would see */
        net->info.takes = net->info.gives = VNET_CSUM | VNET_TSO4 | VNET_TSO6 | VNET_ECN | VNET_UFO;
    *ret_net = net;
    return 0;
}

/* ---- opening ---- */

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        vm_close(&fds[i]);
}

static int open_taps(const struct vnet_setup *s, struct vnet **ret_net)
{
    const struct vm_env *env = s->env;
    char text[VM_TAP_TEXT_MAX];
    int fds[VNET_QUEUES_MAX];

    for (unsigned n = 0; n < s->pairs; n++) {
        int rc = vnet_tap_name(s->config, s->pairs, n, text);

        if (!rc)
            rc = env->open ? env->open(env->ctx, text, VM_OPEN_TAP)
                           : vm_fail(-EACCES, "tap %s: nothing may be opened", s->config->tap);
        if (rc < 0) {
            close_all(fds, n);
            return rc == -ENOTCONN ? none_new(s->pairs, true, ret_net) : rc;
        }
        fds[n] = rc;
    }
    return vnet_tap_new(s, fds, ret_net);
}

static bool is_socket(int fd)
{
    struct stat st;

    return !vm_fstat(fd, &st) && S_ISSOCK(st.st_mode);
}

/* The user's stay the user's: who serves the device next finds them, too. */
static int take_fds(const struct vnet_setup *s, struct vnet **ret_net)
{
    const int *given = s->config->fd.items;
    int fds[VNET_QUEUES_MAX], type;
    socklen_t len = sizeof(type);

    for (unsigned n = 0; n < s->pairs; n++) {
        fds[n] = fcntl(given[n], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (fds[n] < 0) {
            int rc = vm_fail(-EBADF, "fd=%d is not open here", given[n]);

            close_all(fds, n);
            return rc;
        }
    }
    if (!is_socket(fds[0]))
        return vnet_tap_new(s, fds, ret_net);
    if (s->pairs == 1 && !getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &type, &len) &&
        type == SOCK_STREAM)
        return vnet_socket_new(s, fds[0], ret_net);
    close_all(fds, s->pairs);
    return vm_fail(-EINVAL, "fd=%d: a socket has to be one, of type SOCK_STREAM", given[0]);
}

static int open_user(const struct vnet_setup *s, struct vnet **ret_net)
{
    const struct vm_env *env = s->env;
    char text[VNET_USER_TEXT_MAX];
    int rc = vnet_user_text(s->config, text);

    if (!rc)
        rc = env->open ? env->open(env->ctx, text, VM_OPEN_USER)
                       : vm_fail(-EACCES, "mode=user: nothing may be started");
    if (rc == -ENOTCONN)
        return none_new(s->pairs, false, ret_net);
    return rc < 0 ? rc : vnet_user_new(s, rc, ret_net);
}

static int open_back(const struct vnet_setup *setup, struct vnet **ret_net)
{
    switch (vnet_mode_of(setup->config)) {
    case VNET_TAP: return open_taps(setup, ret_net);
    case VNET_FD: return take_fds(setup, ret_net);
    case VNET_SOCKET: return vnet_socket_new(setup, -1, ret_net);
    case VNET_USER: return open_user(setup, ret_net);
    default: return none_new(setup->pairs, false, ret_net);
    }
}

static int open_filtered(const struct vnet_setup *setup, struct vnet **ret_net)
{
    struct vnet *filter, *back = NULL;
    struct vnet_setup below;
    int rc = vnet_filter_new(setup, &below, &filter);

    if (rc)
        return rc;
    rc = open_back(&below, &back);
    if (rc) {
        vnet_close(filter);
        return rc;
    }
    vnet_filter_join(filter, back);
    *ret_net = filter;
    return 0;
}

/* mode=user has a wall before the host's loopback in any case: Debian 12's passt has none. */
static bool needs_filter(const struct vnet_config *config)
{
    return vnet_filters_asked(config) || vnet_mode_of(config) == VNET_USER;
}

int vnet_open(const struct vm_env *env, const char *name, const struct vnet_config *config,
              unsigned pairs, const struct vnet_events *events, void *ctx, struct vnet **ret_net)
{
    const struct vnet_setup setup = { env, name, config, pairs, events, ctx };
    int rc = vnet_check(config, pairs);

    if (!rc)
        rc = needs_filter(config) ? open_filtered(&setup, ret_net) : open_back(&setup, ret_net);
    return rc ? vm_wrap(rc, "%s", name) : 0;
}

int vnet_lend(struct vnet *net, unsigned queue)
{
    return net->ops->lend ? net->ops->lend(net, queue)
                          : vm_fail(-ENOTSUP, "this is no tap interface, and the kernel's "
                                              "vhost-net serves no other");
}
