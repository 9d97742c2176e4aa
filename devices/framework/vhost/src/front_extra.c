/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a front end asks of a back end beside its rings: a log of what it writes ("Migration"), its own state ("Migrating back-end
 * state"), and the words of network devices (SEND_RARP, NET_SET_MTU). */
#include "front.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STATE_NO_FD = 0x100, STATE_ERROR = 0xff }; /* SET_DEVICE_STATE_FD: bits of its reply */
#define GPA_END (1ULL << 52)

/* ---- who waits ---- */

static void finish(struct front_wait *w, int code, int given_fd)
{
    struct front_wait was = *w;
    struct vm_error result = { 0 };

    if (!was.ended && !was.begun)
        return;
    *w = (struct front_wait){ 0 };
    if (code)
        vm_error_save(code, &result);
    if (was.begun)
        was.begun(was.ctx, &result, given_fd);
    else
        was.ended(was.ctx, &result);
}

static int check_there(const struct vhost_front *f, uint64_t protocol, const char *what)
{
    if (f->state < FRONT_IDLE || !f->channel)
        return vm_fail(-ENOTCONN, "%s: no back end is there", f->dev.dev.id);
    if (!front_has(f, protocol))
        return vm_fail(-ENOTSUP, "%s: the back end has no %s", f->dev.dev.id, what);
    return 0;
}

/* ---- the log ---- */

static bool can_log(const struct vhost_front *f)
{
    return front_has(f, VHOST_PROTOCOL(LOG_SHMFD)) && f->features & VHOST_FEATURE_LOG_ALL;
}

bool vhost_front_log_fits(const struct vhost_front *f)
{
    return !f->log || can_log(f);
}

static void free_log(struct vhost_front *f)
{
    gm_dirty_free(f->dirty);
    if (f->log)
        munmap(f->log, f->log_bytes);
    vm_close(&f->log_fd);
    f->dirty = NULL;
    f->log = NULL;
}

/* Sealed: who has it, too, cannot cut it short below our mapping. */
static int make_log(struct vhost_front *f, gpa_t end)
{
    int rc;

    f->log_bytes = ((end - 1) / GM_PAGE_BYTES / 64 + 1) * sizeof(uint64_t);
    f->log_fd = memfd_create("vhost-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (f->log_fd < 0 || ftruncate(f->log_fd, (off_t)f->log_bytes) ||
        fcntl(f->log_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        rc = vm_fail_errno("%s: log of %zu bytes", f->dev.dev.id, f->log_bytes);
        vm_close(&f->log_fd);
        return rc;
    }
    f->log = mmap(NULL, f->log_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->log_fd, 0);
    if (f->log == MAP_FAILED) {
        f->log = NULL;
        rc = vm_fail_errno("%s: log of %zu bytes", f->dev.dev.id, f->log_bytes);
    } else {
        rc = gm_dirty_new_at(f->log, f->log_bytes, &f->dirty);
    }
    if (rc)
        free_log(f);
    return rc;
}

static int took_log(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    (void)queue;
    /* Some answer with a number, some with nothing, some with what they were sent. */
    if (untrusted->size == sizeof(uint64_t) && untrusted->payload.u64)
        return vm_fail(-EPROTO, "SET_LOG_BASE: the back end refuses it (%#llx)",
                       (unsigned long long)untrusted->payload.u64);
    (void)f;
    return 0;
}

static int send_log(struct vhost_front *f)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_SET_LOG_BASE, sizeof(struct vhost_log));

    m.payload.log.size = f->log_bytes;
    m.fds = 1;
    m.fd[0] = f->log_fd;
    return vhost_front_call(f, &m, 0, took_log);
}

/* Messages are taken in order: with this answer the back end has done all that was asked before. */
static int log_is_on(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    (void)queue;
    (void)untrusted;
    finish(&f->log_wait, 0, -1);
    return 0;
}

/* Rings run, and are to be logged or not to be any more. */
static int tell_log(struct vhost_front *f)
{
    int rc = f->log ? send_log(f) : 0;

    if (!rc)
        rc = vhost_front_features(f);
    for (uint16_t n = 0; !rc && n < f->queues; n++)
        if (f->queue[n].started)
            rc = vhost_front_addresses(f, n);
    return rc;
}

int vhost_front_log_start(struct vhost_front *f, gpa_t end, vhost_front_ended *ended, void *ctx)
{
    struct vhost_message barrier = vhost_front_message(VHOST_USER_GET_FEATURES, 0);
    int rc;

    if (f->log)
        return vm_fail(-EALREADY, "%s: what it writes is logged already", f->dev.dev.id);
    if (!end || end > GPA_END)
        return vm_fail(-EINVAL, "%s: a log of memory up to %#llx", f->dev.dev.id,
                       (unsigned long long)end);
    if (f->state >= FRONT_IDLE && !can_log(f))
        return vm_fail(-ENOTSUP, "%s: the back end cannot log what it writes", f->dev.dev.id);
    rc = make_log(f, end);
    if (rc || f->state < FRONT_STARTING)
        return rc;
    f->log_wait = (struct front_wait){ .ended = ended, .ctx = ctx };
    rc = tell_log(f);
    if (!rc)
        rc = vhost_front_call(f, &barrier, 0, log_is_on);
    if (!rc)
        return -EINPROGRESS;
    f->log_wait = (struct front_wait){ 0 };
    free_log(f);
    return rc;
}

void vhost_front_log_stop(struct vhost_front *f)
{
    if (!f->log)
        return;
    free_log(f);
    if (f->state >= FRONT_STARTING)
        (void)tell_log(f);
    finish(&f->log_wait, vm_fail(-ECANCELED, "%s: the log was stopped", f->dev.dev.id), -1);
}

uint64_t vhost_front_log_take(struct vhost_front *f, uint64_t first_page, uint64_t *ret_words,
                              size_t words)
{
    return f->dirty ? gm_dirty_take(f->dirty, first_page, ret_words, words) : 0;
}

int vhost_front_log_fd(const struct vhost_front *f)
{
    return f->log_fd;
}

/* ---- state ---- */

static int state_begun(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    uint64_t v = untrusted->payload.u64;
    int rc = 0;

    (void)queue;
    if (v & ~(uint64_t)(STATE_NO_FD | STATE_ERROR) ||
        (!(v & STATE_ERROR) && (v & STATE_NO_FD ? 0U : 1U) != untrusted->fds))
        return vm_fail(-EPROTO, "SET_DEVICE_STATE_FD: answered %#llx with %u fds",
                       (unsigned long long)v, untrusted->fds);
    if (v & STATE_ERROR)
        rc = vm_fail(-EIO, "%s: the back end does not transfer its state (%llu)", f->dev.dev.id,
                     (unsigned long long)(v & STATE_ERROR));
    finish(&f->state_wait, rc, rc ? -1 : vhost_message_take_fd(untrusted, 0));
    return 0;
}

static int state_checked(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    int rc = 0;

    (void)queue;
    if (untrusted->payload.u64)
        rc = vm_fail(-EIO, "%s: the back end's state was not transferred whole (%#llx)",
                     f->dev.dev.id, (unsigned long long)untrusted->payload.u64);
    finish(&f->state_wait, rc, -1);
    return 0;
}

static int check_state(const struct vhost_front *f)
{
    int rc = check_there(f, VHOST_PROTOCOL(DEVICE_STATE), "state that could be transferred");

    if (!rc && f->state != FRONT_IDLE)
        rc = vm_fail(-EBUSY, "%s: its rings are served", f->dev.dev.id);
    if (!rc && (f->state_wait.ended || f->state_wait.begun))
        rc = vm_fail(-EBUSY, "%s: its state is under way already", f->dev.dev.id);
    return rc;
}

/* Who was refused now is not called later. */
static int await_state(struct vhost_front *f, int rc)
{
    if (!rc)
        return -EINPROGRESS;
    f->state_wait = (struct front_wait){ 0 };
    return rc;
}

int vhost_front_state_begin(struct vhost_front *f, uint32_t direction, int fd,
                            vhost_front_state_begun *begun, void *ctx)
{
    struct vhost_message m =
        vhost_front_message(VHOST_USER_SET_DEVICE_STATE_FD, sizeof(struct vhost_transfer));
    int rc = check_state(f);

    if (!rc && direction > VHOST_TRANSFER_LOAD)
        rc = vm_fail(-EINVAL, "%s: direction %u", f->dev.dev.id, direction);
    if (rc)
        return rc;
    m.payload.transfer = (struct vhost_transfer){ direction, VHOST_TRANSFER_STOPPED };
    m.fds = 1;
    m.fd[0] = fd;
    f->state_wait = (struct front_wait){ .begun = begun, .ctx = ctx };
    rc = vhost_front_call(f, &m, 0, state_begun);
    return await_state(f, rc);
}

int vhost_front_state_check(struct vhost_front *f, vhost_front_ended *ended, void *ctx)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_CHECK_DEVICE_STATE, 0);
    int rc = check_state(f);

    if (rc)
        return rc;
    f->state_wait = (struct front_wait){ .ended = ended, .ctx = ctx };
    rc = vhost_front_call(f, &m, 0, state_checked);
    return await_state(f, rc);
}

/* ---- network devices ---- */

int vhost_front_rarp(struct vhost_front *f, const uint8_t mac[6])
{
    struct vhost_message m = vhost_front_number(VHOST_USER_SEND_RARP, 0);
    int rc = check_there(f, VHOST_PROTOCOL(RARP), "SEND_RARP to announce the guest by");

    if (rc)
        return rc;
    memcpy(m.payload.bytes, mac, 6);
    return vhost_front_tell(f, &m);
}

static int send_mtu(struct vhost_front *f)
{
    struct vhost_message m = vhost_front_number(VHOST_USER_NET_SET_MTU, f->mtu);

    return f->mtu && front_has(f, VHOST_PROTOCOL(MTU)) ? vhost_front_tell(f, &m) : 0;
}

int vhost_front_mtu(struct vhost_front *f, uint16_t mtu)
{
    int rc = check_there(f, VHOST_PROTOCOL(MTU), "NET_SET_MTU");

    if (rc == -ENOTSUP)
        return rc;
    f->mtu = mtu;
    return rc ? 0 : send_mtu(f);
}

/* ---- with the rings ---- */

int vhost_front_extra_start(struct vhost_front *f)
{
    int rc = send_mtu(f);

    return rc || !f->log ? rc : send_log(f);
}

void vhost_front_extra_lost(struct vhost_front *f)
{
    finish(&f->log_wait, 0, -1); /* the next one is told before it starts */
    finish(&f->state_wait, vm_fail(-ECONNRESET, "%s: the back end went away", f->dev.dev.id), -1);
}

void vhost_front_extra_free(struct vhost_front *f)
{
    f->log_wait = f->state_wait = (struct front_wait){ 0 };
    free_log(f);
}
