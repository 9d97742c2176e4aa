/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The device's own state, carried away and brought by the front end ("Migrating back-end state"; SET_DEVICE_STATE_FD and
 * CHECK_DEVICE_STATE). What the driver negotiated and where its rings are the front end tells by the usual messages; here goes what only
 * the class knows, as in a snapshot:
 *
 *     the class's name, zeros up to 64 bytes   its section (docs/snapshot-format.md)
 *
 *   [none] --SET_DEVICE_STATE_FD--> [under way] --all bytes have gone, or it went wrong--> [ended] --CHECK_DEVICE_STATE--> [none]
 *
 * A state that was brought is taken over when it is asked for: with CHECK_DEVICE_STATE, which every front end sends, and no ring started.
 * Nobody waits for the channel: bytes go as it takes and gives them. It is silent for so long at most, for its descriptor, which is kept here,
 * may be the front end's own end of its socket.
 */
#include "backend_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <vmm/base/fd.h>

enum {
    STATE_NO_FD =
        0x100, /* of the answer: we have no channel that were better than the front end's */
    STATE_ERROR = 1,
    NAME_BYTES = VDEV_ID_MAX + 1,
    STATE_BYTES = 1 << 20, /* that a front end may bring */
    PIECE_BYTES = 4096,
};
#define SILENCE_NS (60 * 1000000000ULL) /* between two pieces */
#define CHECK_NS   (5 * 1000000000ULL) /* ... when the front end says that all of them have gone */

static void tell(struct vhost_backend *b, uint64_t value)
{
    struct vhost_message r = { .request = b->asked.request,
                               .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                               .size = sizeof(uint64_t) };

    r.payload.u64 = value;
    vhost_backend_reply(b, &r);
}

static void complain(struct vhost_backend *b)
{
    vm_log_limited(b->env, &b->complaints, VM_LOG_WARN, "%s: vhost-user: %s", b->dev->dev.id,
                   vm_error_text());
}

/* ---- the channel ---- */

static void close_channel(struct vhost_backend_state *s)
{
    vm_timer_cancel(&s->late);
    vm_watch_del(&s->watch);
    vm_close(&s->fd);
}

/* All bytes have gone, or the rest never will: code, with text. */
static void end_transfer(struct vhost_backend *b, int code)
{
    struct vhost_backend_state *s = &b->state;

    close_channel(s);
    vm_error_save(code, &s->result);
    if (s->awaited) {
        s->awaited = false;
        vhost_backend_step(b);
    }
}

static void too_late(struct vm_timer *timer)
{
    struct vhost_backend *b = container_of(timer, struct vhost_backend, state.late);

    end_transfer(b, vm_fail(-ETIMEDOUT, "%zu bytes of state have gone, and no more for %llu s",
                            b->state.saves ? b->state.at : b->state.bytes.len,
                            (b->state.awaited ? CHECK_NS : SILENCE_NS) / 1000000000ULL));
}

static int watch_time(struct vhost_backend *b)
{
    struct vm_loop *loop = b->env->loop;
    uint64_t ns = b->state.awaited ? CHECK_NS : SILENCE_NS;

    return vm_timer_set(loop, &b->state.late, vm_loop_now_ns(loop) + ns, too_late);
}

/* 1: go on; 0: that was all; -errno with text. */
static int write_piece(struct vhost_backend_state *s)
{
    ssize_t n = vm_write(s->fd, s->bytes.data + s->at, s->bytes.len - s->at);

    if (n == -EAGAIN)
        return 1;
    if (n < 0)
        return vm_fail((int)n, "the device's state: %s", strerror((int)-n));
    s->at += (size_t)n;
    return s->at < s->bytes.len;
}

static int read_piece(struct vhost_backend_state *s)
{
    uint8_t piece[PIECE_BYTES];
    ssize_t n = vm_read(s->fd, piece, sizeof(piece));

    if (n == -EAGAIN)
        return 1;
    if (n < 0)
        return vm_fail((int)n, "the device's state: %s", strerror((int)-n));
    if (!n)
        return 0;
    if (s->bytes.len + (size_t)n > STATE_BYTES)
        return vm_fail(-EFBIG, "more than %d bytes of state", STATE_BYTES);
    if (vm_buffer_add(&s->bytes, piece, (size_t)n))
        return vm_fail(-ENOMEM, "no memory for %zu bytes of state", s->bytes.len);
    return 1;
}

/* A piece at a time, so that others have their turn. */
static void channel_ready(struct vm_watch *watch, uint32_t events)
{
    struct vhost_backend *b = container_of(watch, struct vhost_backend, state.watch);
    struct vhost_backend_state *s = &b->state;
    int rc;

    if (s->saves && events & (EPOLLERR | EPOLLHUP))
        rc = vm_fail(-EPIPE, "nobody reads the device's state any more");
    else
        rc = s->saves ? write_piece(s) : read_piece(s);
    if (rc > 0)
        rc = watch_time(b) ? vm_fail(-ENOMEM, "out of memory") : 1;
    if (rc <= 0)
        end_transfer(b, rc);
}

/* ---- SET_DEVICE_STATE_FD ---- */

/* "While all vrings are stopped, the device is suspended." */
static int check_suspended(const struct vhost_backend *b, const char *what)
{
    for (uint16_t n = 0; n < b->dev->queues; n++)
        if (b->ring[n].started)
            return vm_fail(-EBUSY, "%s: ring %u is not stopped", what, n);
    return 0;
}

/* A pipe or a socket, and not of a file: whose disk, or server, we would have to wait for. */
static int check_channel(int fd, uint32_t direction)
{
    int flags = fcntl(fd, F_GETFL);
    struct stat st;

    if (flags < 0 || vm_fstat(fd, &st))
        return vm_fail_errno("SET_DEVICE_STATE_FD");
    if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
        return vm_fail(-EINVAL, "SET_DEVICE_STATE_FD: fd is neither a pipe nor a socket");
    if ((flags & O_ACCMODE) == (direction == VHOST_TRANSFER_SAVE ? O_RDONLY : O_WRONLY))
        return vm_fail(-EINVAL, "SET_DEVICE_STATE_FD: it is the pipe's other end");
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK))
        return vm_fail_errno("SET_DEVICE_STATE_FD");
    return 0;
}

static int check_transfer(const struct vhost_backend *b, const struct vhost_message *m)
{
    const struct vhost_transfer *t = &m->payload.transfer;
    int rc;

    if (t->direction > VHOST_TRANSFER_LOAD || t->phase != VHOST_TRANSFER_STOPPED)
        return vm_fail(-EINVAL, "SET_DEVICE_STATE_FD: direction %u in phase %u", t->direction,
                       t->phase);
    rc = check_suspended(b, "SET_DEVICE_STATE_FD");
    return rc ? rc : check_channel(m->fd[0], t->direction);
}

static int write_down(struct vhost_backend *b)
{
    const struct vdev *dev = &b->dev->dev;
    char name[NAME_BYTES] = "";

    strncpy(name, dev->cls->name, sizeof(name) - 1);
    if (vm_buffer_add(&b->state.bytes, name, sizeof(name)))
        return vm_fail(-ENOMEM, "%s: no memory for its state", dev->id);
    return vdev_save(&b->dev->dev, &b->state.bytes);
}

/* At rest, where the device's own bytes leave. */
static void begin(struct vhost_backend *b)
{
    struct vhost_backend_state *s = &b->state;
    int rc = s->saves ? write_down(b) : 0;

    if (!rc)
        rc = vm_watch_add(b->env->loop, &s->watch, s->fd, s->saves ? EPOLLOUT : EPOLLIN,
                          channel_ready);
    if (!rc)
        rc = watch_time(b);
    s->begun = !rc;
    if (rc) {
        complain(b);
        vhost_backend_state_drop(b);
    }
    tell(b, rc ? STATE_NO_FD | STATE_ERROR : STATE_NO_FD);
}

/* A second one takes the first one's place. */
int vhost_backend_state_begin(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_backend_state *s = &b->state;
    int rc = check_transfer(b, m), later = vhost_backend_later(b, m);

    vhost_backend_state_drop(b);
    if (rc) {
        complain(b);
        tell(b, STATE_NO_FD | STATE_ERROR);
        return later;
    }
    s->fd = vhost_message_take_fd(m, 0);
    s->saves = m->payload.transfer.direction == VHOST_TRANSFER_SAVE;
    if (s->saves)
        vhost_backend_rest_then(b, begin);
    else
        begin(b);
    return later;
}

/* ---- CHECK_DEVICE_STATE ---- */

/* What does not fit leaves a device as after a reset. */
static int take_over(struct vhost_backend *b)
{
    const struct vm_buffer *bytes = &b->state.bytes;
    const char *cls = b->dev->dev.cls->name;
    int rc = check_suspended(b, "CHECK_DEVICE_STATE");

    if (rc)
        return rc;
    if (bytes->len < NAME_BYTES || strnlen((const char *)bytes->data, NAME_BYTES) != strlen(cls) ||
        memcmp(bytes->data, cls, strlen(cls)) != 0)
        return vm_fail(-EINVAL, "%zu bytes that are not the state of a %s", bytes->len, cls);
    return vdev_load(&b->dev->dev, bytes->data + NAME_BYTES, bytes->len - NAME_BYTES);
}

static void answer(struct vhost_backend *b)
{
    struct vhost_backend_state *s = &b->state;
    int rc = vm_error_restore(&s->result);

    if (!rc && !s->saves)
        rc = take_over(b);
    if (rc)
        complain(b);
    vhost_backend_state_drop(b);
    tell(b, rc ? STATE_ERROR : 0);
}

static void ended(struct vhost_backend *b)
{
    vhost_backend_rest_then(b, answer);
}

int vhost_backend_state_check(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_backend_state *s = &b->state;
    int later = vhost_backend_later(b, m);

    if (!s->begun) {
        vm_fail(-EINVAL, "CHECK_DEVICE_STATE: no state was transferred");
        complain(b);
        tell(b, STATE_ERROR);
    } else if (s->fd < 0) {
        vhost_backend_rest_then(b, answer);
    } else {
        s->awaited = true;
        vhost_backend_wait(b, ended);
        if (watch_time(b))
            end_transfer(b, vm_fail(-ENOMEM, "out of memory"));
    }
    return later;
}

/* ---- the session ends ---- */

void vhost_backend_state_cancel(struct vhost_backend *b)
{
    if (b->state.awaited)
        end_transfer(b, vm_fail(-ECANCELED, "the session ends"));
}

void vhost_backend_state_drop(struct vhost_backend *b)
{
    close_channel(&b->state);
    vm_buffer_free(&b->state.bytes);
    b->state = (struct vhost_backend_state){ .fd = -1 };
}
