/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device's process that dies when told to. It knows the inside of the back end, as a kernel would. */
#include "mortal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/devices-core/ledger.h>

#include "backend_private.h"

void mortal_store(const void *to); /* mortal_store.h, without its macro */

/* All that there are in this program. */
static struct mortal *all;

/* ---- its environment ---- */

static void env_log(void *ctx, enum vm_level level, const char *text)
{
    const struct mortal *m = ctx;

    if (!m->dead && m->world->log)
        m->world->log(m->world->ctx, level, text);
}

static uint64_t env_now(void *ctx, enum vm_clock clock)
{
    const struct mortal *m = ctx;

    return m->world->now_ns(m->world->ctx, clock);
}

static int env_random(void *ctx, void *buf, size_t len)
{
    const struct mortal *m = ctx;

    if (!m->dead)
        return m->world->random(m->world->ctx, buf, len);
    memset(buf, 0, len);
    return 0;
}

static int env_open(void *ctx, const char *name, unsigned how)
{
    struct mortal *m = ctx;
    int fd = m->dead || !m->world->open || m->files == MORTAL_FILES
                 ? vm_fail(-EACCES, "%s: not for this process", name)
                 : m->world->open(m->world->ctx, name, how);

    if (fd >= 0)
        m->file[m->files++] = fd;
    return fd;
}

/* ---- death ---- */

/* The same bytes, and nobody sees what becomes of them. */
static void part(void *host, size_t bytes, int fd, uint64_t offset)
{
    int flags = MAP_FIXED | MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0);

    if (mmap(host, bytes, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset) == MAP_FAILED)
        abort();
}

static void part_memory(struct mortal *m)
{
    struct gm_map *map = gm_space_map(m->space);

    for (size_t i = 0; i < gm_map_count(map); i++) {
        struct gm_region *region = gm_map_region(map, i);
        uint64_t offset = 0;
        int fd = gm_region_fd(region, &offset);

        if (fd >= 0)
            part(gm_region_host(region), gm_region_size(region), fd, offset);
    }
    gm_map_unref(map);
}

static void part_log(struct vhost_backend *b)
{
    void *bytes = b->inflight ? malloc(b->inflight_bytes) : NULL;

    if (!b->inflight)
        return;
    if (!bytes)
        abort();
    memcpy(bytes, b->inflight, b->inflight_bytes);
    part(b->inflight, b->inflight_bytes, -1, 0);
    memcpy(b->inflight, bytes, b->inflight_bytes);
    free(bytes);
}

static void replace(int fd, int by)
{
    if (fd >= 0 && dup3(by, fd, O_CLOEXEC) < 0)
        abort();
}

static void part_files(struct mortal *m)
{
    int event = vm_eventfd(), file = memfd_create("ghost", MFD_CLOEXEC);

    if (event < 0 || file < 0)
        abort();
    for (uint16_t n = 0; n < m->dev->queues; n++) {
        replace(m->back->ring[n].call_fd, event);
        replace(m->back->ring[n].err_fd, event);
    }
    for (unsigned i = 0; i < m->files; i++)
        replace(m->file[i], file);
    vm_close(&event);
    vm_close(&file);
}

/* What the front end has said and nobody has read. */
static void drain(int fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(VHOST_FDS_MAX * sizeof(int))];
    } control;
    char bytes[512];

    for (;;) {
        struct iovec iov = { bytes, sizeof(bytes) };
        struct msghdr m = { .msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control) };

        if (recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
            return;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                int got;

                memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                vm_close(&got);
            }
    }
}

void mortal_kill(struct mortal *m)
{
    if (m->dead)
        return;
    m->dead = true;
    part_memory(m);
    part_log(m->back);
    part_files(m);
    vdev_ledger_detach(&m->dev->dev);
    if (!m->back->channel)
        return;
    vhost_channel_free(m->back->back);
    m->back->back = NULL;
    (void)shutdown(m->socket, SHUT_RDWR);
    drain(m->socket);
}

bool mortal_serves(const struct mortal *m)
{
    return !m->dead && vhost_backend_rings_active(m->back);
}

uint8_t *mortal_log(const struct mortal *m, uint16_t n)
{
    const struct vhost_backend *b = m->back;

    return b->inflight && n < b->inflight_queues ? b->inflight + n * b->inflight_step : NULL;
}

/* ---- places ---- */

void mortal_place(struct mortal *m)
{
    if (m->dead)
        return;
    m->places++;
    if (m->places == m->last)
        mortal_kill(m);
}

void mortal_arm(struct mortal *m, unsigned n)
{
    m->last = n ? m->places + n : 0;
}

static bool in(const void *at, const void *host, uint64_t bytes)
{
    return (uintptr_t)at >= (uintptr_t)host && (uintptr_t)at - (uintptr_t)host < bytes;
}

static bool is_its(struct mortal *m, const void *at)
{
    const struct vhost_backend *b = m->back;
    struct gm_map *map;
    bool found = b->inflight && in(at, b->inflight, b->inflight_bytes);

    if (found)
        return true;
    map = gm_space_map(m->space);
    for (size_t i = 0; !found && i < gm_map_count(map); i++) {
        const struct gm_region *region = gm_map_region(map, i);

        found = in(at, gm_region_host(region), gm_region_size(region));
    }
    gm_map_unref(map);
    return found;
}

void mortal_store(const void *to)
{
    for (struct mortal *m = all; m; m = m->next)
        if (!m->dead && m->back && is_its(m, to)) {
            mortal_place(m);
            return;
        }
}

/* ---- life ---- */

static void closed(void *ctx, const struct vm_error *why)
{
    struct mortal *m = ctx;

    (void)why;
    m->over = true;
}

static int create(struct mortal *m, const struct vdev_context *like, const struct vdev_class *cls,
                  const void *config)
{
    struct vdev_context context = *like;
    struct vdev *dev;
    int rc;

    context.env = &m->env;
    context.memory = m->space;
    context.config = config;
    rc = cls->create(&context, &dev);
    if (!rc)
        m->dev = container_of(dev, struct virtio_dev, dev);
    return rc;
}

int mortal_new(const struct vdev_context *context, const struct vdev_class *cls, const void *config,
               struct mortal **ret_mortal)
{
    static const struct vhost_backend_ops ops = { .closed = closed };
    struct mortal *m = calloc(1, sizeof(*m));
    int rc;

    if (!m)
        return -ENOMEM;
    m->world = context->env;
    m->env = (struct vm_env){ .ctx = m,
                              .log = env_log,
                              .now_ns = env_now,
                              .random = env_random,
                              .open = env_open,
                              .loop = context->env->loop };
    m->socket = -1;
    rc = gm_space_new(&m->env, &m->space);
    if (!rc)
        rc = create(m, context, cls, config);
    if (!rc)
        rc = vhost_backend_new(m->dev, m->space, &ops, m, &m->back);
    if (rc) {
        if (m->dev)
            vdev_destroy(&m->dev->dev);
        gm_space_free(m->space);
        free(m);
        return rc;
    }
    m->next = all;
    all = m;
    *ret_mortal = m;
    return 0;
}

int mortal_ledger(struct mortal *m, int fd)
{
    return vdev_ledger_attach(&m->dev->dev, fd);
}

int mortal_serve(struct mortal *m, int fd)
{
    m->socket = fd;
    m->over = false;
    return vhost_backend_serve(m->back, fd);
}

void mortal_end(struct mortal *m)
{
    struct mortal **at = &all;

    if (!m)
        return;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    vhost_backend_free(m->back);
    gm_space_free(m->space);
    free(m);
}
