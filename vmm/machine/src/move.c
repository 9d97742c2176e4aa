/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Moving a device between a thread of the VMM and a process of its own, under a running guest.
 *
 * The guest's side, which is the transport, stays; the device behind it becomes another one, which takes over what that one has come to
 * when it is at rest: negotiation, queues, its class's state. Names are not looked up again (names.h). Each step that may wait for the host
 * is the I/O loop's, or is waited for; the control loop goes on.
 *
 *     move() -- pause -> paused() --(the old process ends)--> settle() -- the I/O thread gets its filter --> ready()
 *       ready() -- the next one is made: make() --> made() -- take over, swap -- the last one is freed: discard() --> gone()
 *         gone() -- resume --(to a process: one comes)--> finish()
 *
 * Up to the swap, whatever goes wrong leaves the old device where it was. When the process does not come after it, the device moves back.
 * The I/O loop may hang in what the host does not answer (an image whose server is gone): the guest does not stand still for that. Before
 * the swap the move fails, and what is made late is dropped; after it the guest goes on and the end is waited for.
 */
#include "machine_private.h"

#include <errno.h>
#include <string.h>

#include "names.h"

/* An old process that was killed takes so long only where the host hangs; a new one may have to be read from a slow disk. */
#define LEAVE_NS  (10ULL * 1000000000ULL)
#define MAKE_NS   (10ULL * 1000000000ULL)
#define ARRIVE_NS (30ULL * 1000000000ULL)
#define RETRY_NS  (200ULL * 1000000ULL)

/* Half of it cannot be taken back; the pause before it can be. */
static const struct vm_job_ops move_job = { .name = "move" };

static int begin(struct vmm_machine *m, bool to_thread);
static void discard_soon(struct vmm_machine *m);

static const char *place_name(bool to_thread)
{
    return to_thread ? "a thread of the VMM" : "a process of its own";
}

/* ---- the end ---- */

static void finish(struct vmm_machine *m)
{
    struct machine_move *v = &m->move;
    struct vm_error result = { 0 };
    struct vm_job *job = v->job;

    if (v->failed)
        result = v->why;
    else
        vm_log(m->config.env, VM_LOG_INFO, "%s: is in %s now", v->device->id,
               place_name(v->to_thread));
    vm_timer_cancel(&v->timer);
    v->job = NULL;
    v->still = v->ours = v->waits = false;
    vm_job_end(job, vm_error_restore(&result));
    if (!result.code)
        vmm_machine_tell(m, VMM_EVENT_MOVED, v->device->id, v->to_thread ? "thread" : "process");
    v->done(v->ctx, vm_error_restore(&result));
}

/* The first reason is the one that is told. */
static void note_failure(struct vmm_machine *m, int code)
{
    struct machine_move *v = &m->move;

    if (v->failed)
        vm_log(m->config.env, VM_LOG_WARN, "%s: %s", v->device->id, vm_error_text());
    else
        vm_error_save(code, &v->why);
    v->failed = true;
}

static void go_on(struct vmm_machine *m)
{
    struct machine_move *v = &m->move;

    if (v->ours)
        vmm_machine_resume_inside(m);
    v->still = v->ours = false;
}

/* A half-made one. */
static void drop(struct vmm_machine *m)
{
    struct machine_move *v = &m->move;

    v->last = v->next;
    v->last_process = v->next_process;
    v->next = NULL;
    v->next_process = NULL;
    discard_soon(m);
}

/* The device stays where it is; a half-made one in the other place goes. */
static void stay(struct vmm_machine *m, int code)
{
    struct machine_move *v = &m->move;

    note_failure(m, code);
    vm_timer_cancel(&v->timer);
    v->waits = false;
    if (v->device->process)
        vmm_process_keep(v->device->process);
    if (!v->next && !v->next_process) {
        go_on(m);
        finish(m);
        return;
    }
    if (v->next_process)
        vmm_process_await(v->next_process, NULL, NULL);
    drop(m);
}

/* ---- steps of the I/O loop ---- */

/* Its step has ended: step() follows on the control loop. */
static void arrive(struct vmm_machine *m, int code, void (*step)(struct vm_work *work))
{
    pthread_mutex_lock(&m->run_lock);
    vm_error_save(code, &m->move.error);
    pthread_mutex_unlock(&m->run_lock);
    vm_loop_post(m->config.env->loop, &m->move.work, step);
}

static struct vmm_machine *of_work(struct vm_work *work)
{
    return container_of(work, struct vmm_machine, move.work);
}

static struct vmm_machine *of_io_work(struct vm_work *work)
{
    return container_of(work, struct vmm_machine, move.io_work);
}

/* ---- the last one is freed ---- */

/* What keeps the machine from pausing ends sooner or later. */
static void go_back(struct vm_timer *timer)
{
    struct vmm_machine *m = container_of(timer, struct vmm_machine, move.timer);
    struct vm_loop *loop = m->config.env->loop;
    struct machine_move *v = &m->move;
    uint64_t now = vm_loop_now_ns(loop);
    int rc = begin(m, true);

    if (!rc)
        return;
    if (now >= v->back_ns || vm_timer_set(loop, &v->timer, now + RETRY_NS, go_back)) {
        note_failure(m, rc);
        finish(m);
    }
}

/* The process does not serve it: the thread does again. */
static void move_back(struct vmm_machine *m, int code)
{
    struct machine_move *v = &m->move;

    vm_timer_cancel(&v->timer);
    v->waits = false;
    note_failure(m, code);
    vm_log(m->config.env, VM_LOG_WARN, "%s: moves back to %s: %s", v->device->id, place_name(true),
           v->why.text);
    v->back_ns = vm_loop_now_ns(m->config.env->loop) + ARRIVE_NS;
    go_back(&v->timer);
}

static void judge(struct vmm_machine *m)
{
    int rc = vm_error_restore(&m->move.coming);

    if (rc)
        move_back(m, rc);
    else
        finish(m);
}

/* It may come before the last one is gone. */
static void arrived(void *ctx, int code)
{
    struct vmm_machine *m = ctx;
    struct machine_move *v = &m->move;

    if (!v->job) /* the machine has ended meanwhile */
        return;
    v->came = true;
    vm_error_save(code, &v->coming);
    if (v->waits)
        judge(m);
}

static void too_late(struct vm_timer *timer)
{
    struct vmm_machine *m = container_of(timer, struct vmm_machine, move.timer);
    struct machine_device *d = m->move.device;

    vmm_process_await(d->process, NULL, NULL);
    move_back(m, vm_fail(-ETIMEDOUT, "%s: its process did not come to serve it in %llu s", d->id,
                         ARRIVE_NS / 1000000000ULL));
}

static void wait_for_process(struct vmm_machine *m)
{
    struct vm_loop *loop = m->config.env->loop;
    struct machine_move *v = &m->move;

    v->waits = true;
    if (v->came)
        judge(m);
    else if (vm_timer_set(loop, &v->timer, vm_loop_now_ns(loop) + ARRIVE_NS, too_late))
        too_late(&v->timer);
}

/* Nobody waits for it any more, and another move may begin. */
static void made_late(struct vmm_machine *m)
{
    pthread_mutex_lock(&m->run_lock);
    m->move.late = false;
    pthread_mutex_unlock(&m->run_lock);
    vm_log(m->config.env, VM_LOG_INFO, "%s: what a move had begun has ended, too late: it stays",
           m->move.device->id);
}

static void gone(struct vm_work *work)
{
    struct vmm_machine *m = of_work(work);
    struct machine_move *v = &m->move;

    if (!v->job && !v->late)
        return;
    vmm_process_free(v->last_process);
    v->last_process = NULL;
    if (v->late) {
        made_late(m);
        return;
    }
    vm_timer_cancel(&v->timer);
    go_on(m);
    if (v->to_thread || v->failed)
        finish(m);
    else
        wait_for_process(m);
}

static void discard(struct vm_work *work)
{
    struct vmm_machine *m = of_io_work(work);
    struct machine_move *v = &m->move;

    vdev_destroy(v->last);
    v->last = NULL;
    if (v->last_process)
        vmm_process_detach(v->last_process);
    arrive(m, 0, gone);
}

/* The move is decided; only its end has to come. */
static void discarded_late(struct vm_timer *timer)
{
    struct vmm_machine *m = container_of(timer, struct vmm_machine, move.timer);

    vm_log(m->config.env, VM_LOG_WARN,
           "%s: the host holds up the end of its move; the machine goes on meanwhile",
           m->move.device->id);
    go_on(m);
}

static void discard_soon(struct vmm_machine *m)
{
    struct vm_loop *loop = m->config.env->loop;
    struct machine_move *v = &m->move;

    /* Without a timer the machine would have no other way out. */
    if (v->job && vm_timer_set(loop, &v->timer, vm_loop_now_ns(loop) + MAKE_NS, discarded_late))
        discarded_late(&v->timer);
    vm_loop_post(m->io_env.loop, &v->io_work, discard);
}

/* ---- the next one takes its place ---- */

/* What is offered stays, too: a driver that begins anew finds what it found before. */
static int same_features(const struct virtio_dev *last, struct virtio_dev *next)
{
    if (last->offered & ~next->offered)
        return vm_fail(-ENOTSUP, "%s: in %s it would lack features %#llx", last->dev.id,
                       virtio_any_remote(next) ? place_name(false) : place_name(true),
                       (unsigned long long)(last->offered & ~next->offered));
    next->offered = last->offered;
    return 0;
}

static int take_over(struct machine_device *d, struct vdev *dev)
{
    struct virtio_dev *last = container_of(d->dev, struct virtio_dev, dev);
    struct virtio_dev *next = container_of(dev, struct virtio_dev, dev);
    int rc = same_features(last, next);

    if (!rc)
        rc = vdev_quiesce(dev, NULL);
    if (!rc)
        rc = virtio_take_over(next, last);
    if (!rc)
        rc = d->pci ? virtio_pci_swap(d->pci, next) : virtio_mmio_swap(d->mmio, next);
    return rc;
}

static void swap(struct vmm_machine *m)
{
    struct machine_move *v = &m->move;
    struct machine_device *d = v->device;

    v->last = d->dev;
    v->last_process = d->process;
    v->next->firmware = v->last->firmware;
    if (v->last_process)
        vmm_process_count_on_in(v->last_process, v->next);
    pthread_mutex_lock(&m->run_lock);
    d->dev = v->next;
    d->process = v->next_process;
    pthread_mutex_unlock(&m->run_lock);
    v->next = NULL;
    v->next_process = NULL;
}

static void made(struct vm_work *work)
{
    struct vmm_machine *m = of_work(work);
    struct machine_move *v = &m->move;
    int rc;

    if (v->late)
        drop(m);
    if (!v->job)
        return;
    vm_timer_cancel(&v->timer);
    pthread_mutex_lock(&m->run_lock);
    rc = vm_error_restore(&v->error);
    pthread_mutex_unlock(&m->run_lock);
    if (!rc && v->next_process)
        rc = vmm_process_listen(v->next_process);
    if (!rc)
        rc = take_over(v->device, v->next);
    if (rc) {
        stay(m, rc);
        return;
    }
    swap(m);
    discard_soon(m);
}

/* ---- the next one is made ---- */

static int make_here(struct vmm_machine *m, struct vdev **ret_dev)
{
    struct machine_device *d = m->move.device;
    struct vdev_context c = vmm_machine_context(m, d->id);

    c.env = &d->names->env.env;
    c.config = d->config;
    return d->cls->create(&c, ret_dev);
}

static bool is_late(struct vmm_machine *m)
{
    bool late;

    pthread_mutex_lock(&m->run_lock);
    late = m->move.late;
    pthread_mutex_unlock(&m->run_lock);
    return late;
}

static int make_next(struct vmm_machine *m)
{
    struct machine_move *v = &m->move;
    struct vdev_context c = vmm_machine_context(m, v->device->id);
    int rc = v->to_thread ? make_here(m, &v->next)
                          : vmm_process_stand_in(v->next_process, v->device->dev, &c, &v->next);

    /* The framework names the device already where it says something. */
    if (rc && strncmp(vm_error_text(), c.id, strlen(c.id)))
        vm_wrap(rc, "%s", c.id);
    return rc;
}

/* One that has not begun when nobody waits for it any more does not. */
static void make(struct vm_work *work)
{
    struct vmm_machine *m = of_io_work(work);

    arrive(m, is_late(m) ? -ETIMEDOUT : make_next(m), made);
}

static void make_takes_long(struct vm_timer *timer)
{
    struct vmm_machine *m = container_of(timer, struct vmm_machine, move.timer);
    struct machine_move *v = &m->move;

    note_failure(m, vm_fail(-ETIMEDOUT,
                            "%s: the host did not let it be made in %s in %llu s: is the storage "
                            "there (the host's log may tell)?",
                            v->device->id, place_name(v->to_thread), MAKE_NS / 1000000000ULL));
    pthread_mutex_lock(&m->run_lock);
    v->late = true;
    pthread_mutex_unlock(&m->run_lock);
    if (v->next_process)
        vmm_process_await(v->next_process, NULL, NULL);
    if (v->device->process)
        vmm_process_keep(v->device->process);
    go_on(m);
    finish(m);
}

static void ready(struct vmm_machine *m)
{
    struct machine_move *v = &m->move;
    int rc;

    if (v->late)
        made_late(m);
    if (!v->job)
        return;
    rc = v->to_thread ? 0 : vmm_process_for(v->device, &v->next_process);
    if (rc) {
        stay(m, rc);
        return;
    }
    v->came = false;
    if (!v->to_thread)
        vmm_process_await(v->next_process, arrived, m);
    vm_loop_post(m->io_env.loop, &v->io_work, make);
}

/* ---- all is at rest ---- */

static void settle(struct vmm_machine *m)
{
    struct vm_loop *loop = m->config.env->loop;
    struct vmm_jail_program *filter;
    int rc = vm_timer_set(loop, &m->move.timer, vm_loop_now_ns(loop) + MAKE_NS, make_takes_long);

    /* With the rows of the device that shall leave, too: should it stay, the thread serves it as before. The next move leaves them out. */
    if (!rc)
        rc = vmm_machine_filter_io(m, m->move.device, &filter);
    if (rc)
        stay(m, rc);
    else
        vmm_machine_io_renew(m, filter, ready);
}

static void process_gone(void *ctx, int code)
{
    struct vmm_machine *m = ctx;

    (void)code;
    if (m->move.job)
        settle(m);
}

static void process_stays(struct vm_timer *timer)
{
    struct vmm_machine *m = container_of(timer, struct vmm_machine, move.timer);

    stay(m, vm_fail(-ETIMEDOUT, "%s: its process does not end: the host holds it up",
                    m->move.device->id));
}

static void let_process_go(struct vmm_machine *m)
{
    struct vm_loop *loop = m->config.env->loop;
    struct machine_move *v = &m->move;
    struct process *p = v->device->process;
    int rc;

    vmm_process_get_set(p, &v->device->lists, v->device->config);
    if (!vmm_process_whole(p)) {
        stay(m, vm_fail(-EBUSY,
                        "%s: its process has died with requests in flight, which the next one "
                        "takes up: move it when that is there",
                        v->device->id));
        return;
    }
    rc = vm_timer_set(loop, &v->timer, vm_loop_now_ns(loop) + LEAVE_NS, process_stays);
    if (!rc)
        rc = vmm_process_let_go(p, process_gone, m);
    if (!rc)
        settle(m);
    else if (rc != -EINPROGRESS)
        stay(m, rc);
}

static void at_rest(struct vmm_machine *m)
{
    if (m->move.device->process)
        let_process_go(m);
    else
        settle(m);
}

static void paused(void *ctx, int code)
{
    struct vmm_machine *m = ctx;

    if (!m->move.job)
        return;
    if (code) {
        stay(m, code);
        return;
    }
    m->move.still = m->move.ours = true;
    at_rest(m);
}

/* The machine was paused anyway, and stays so. */
static void paused_already(struct vm_work *work)
{
    struct vmm_machine *m = of_work(work);

    if (m->move.job)
        at_rest(m);
}

static int begin(struct vmm_machine *m, bool to_thread)
{
    int rc;

    m->move.to_thread = to_thread;
    if (m->state != MACHINE_PAUSED) {
        rc = vmm_machine_pause_inside(m, paused, m);
        return rc ? vm_wrap(rc, "%s", m->move.device->id) : 0;
    }
    m->move.still = true;
    vm_loop_post(m->config.env->loop, &m->move.work, paused_already);
    return 0;
}

/* ---- what can move ---- */

static bool has_fd(const struct vm_prop *props, const void *config)
{
    for (; props && props->name; props++) {
        const void *place = (const char *)config + props->offset;

        if (props->type == VM_PROP_FD && *(const int *)place >= 0)
            return true;
        if (props->type == VM_PROP_LIST && props->element == VM_PROP_FD &&
            ((const struct vm_prop_list *)place)->count)
            return true;
    }
    return false;
}

const char *vmm_machine_why_stays(const struct vmm_machine *m, const struct vdev_class *cls,
                                  const void *config)
{
    if (cls->kind != VDEV_VIRTIO || !config)
        return "only virtio devices move";
    if (cls->placements == VDEV_FOREIGN)
        return "another program serves it, which is not ours to move";
    if (!(cls->placements & VDEV_PROCESS))
        return "devices of its class are on threads only";
    if (!(cls->placements & VDEV_THREAD))
        return "devices of its class are in processes only";
    if (!m->config.sandbox.spawner)
        return "this machine has no spawner, which would start its process, and its memory is not "
               "shared: both come with --sandbox process (the default) and a device that begins in "
               "a process";
    if (cls->thread_reason && cls->thread_reason(config))
        return cls->thread_reason(config);
    if (has_fd(cls->props, config))
        return "it was given as an open file, which goes with who serves it: name the file instead";
    return NULL;
}

static int check_device(const struct vmm_machine *m, const char *id, bool to_thread,
                        struct machine_device **ret_device)
{
    struct machine_device *d = m->devices;
    const char *why;

    while (d && strcmp(d->id, id) != 0)
        d = d->next;
    if (!d)
        return vm_fail(-ENOENT, "there is no device '%s': vmm info lists them", id);
    if (d->leave)
        return vm_fail(-EBUSY, "%s is being removed", id);
    why = d->cls ? vmm_machine_why_stays(m, d->cls, d->given)
                 : "it is a part of the machine, which a thread of the VMM serves";
    if (!why && !d->pci && !d->mmio)
        why = "the guest does not see it on a bus";
    if (why)
        return vm_fail(-ENOTSUP, "%s cannot move: %s", id, why);
    if (d->process && vmm_process_is_changing(d->process))
        return vm_fail(-EBUSY, "%s is being changed (vmm set): move it when that is over", id);
    if (to_thread == !d->process)
        return vm_fail(-EALREADY, "%s is in %s already", id, place_name(to_thread));
    *ret_device = d;
    return 0;
}

static int check(const struct vmm_machine *m)
{
    if (vmm_machine_has_ended(m))
        return vmm_machine_fail_ended(m);
    if (m->state == MACHINE_BUILT)
        return vm_fail(-EBUSY, "the machine was not started yet");
    if (m->move.job)
        return vm_fail(-EBUSY, "%s is being moved: one after the other", m->move.device->id);
    if (m->move.late)
        return vm_fail(-EBUSY,
                       "%s: the host still holds up what a move had begun: move when that is over",
                       m->move.device->id);
    if (m->upgrade.job)
        return vm_fail(-EBUSY, "an upgrade is under way: move when that is over");
    return 0;
}

/* ---- from outside ---- */

int vmm_machine_move(struct vmm_machine *m, const char *id, bool to_thread,
                     void (*done)(void *ctx, int code), void *ctx)
{
    struct machine_device *d;
    struct vm_job *job;
    int rc = check(m);

    if (!rc)
        rc = check_device(m, id, to_thread, &d);
    if (!rc)
        rc = vm_job_start(m->jobs, &move_job, m, 0, &job);
    if (rc)
        return rc;
    m->move.device = d;
    m->move.failed = false;
    m->move.done = done;
    m->move.ctx = ctx;
    m->move.job = job;
    rc = begin(m, to_thread);
    if (rc) {
        m->move.job = NULL;
        vm_job_end(job, rc);
    }
    return rc;
}

void *vmm_machine_move_ctx(const struct vmm_machine *m)
{
    return m->move.job ? m->move.ctx : NULL;
}

const struct machine_device *vmm_machine_mover(const struct vmm_machine *m)
{
    return m->move.job || m->move.late ? m->move.device : NULL;
}

bool vmm_machine_move_holds(const struct vmm_machine *m)
{
    return m->move.still;
}

void vmm_machine_move_end(struct vmm_machine *m, int code)
{
    if (!m->move.job)
        return;
    vm_error_save(code, &m->move.why);
    m->move.failed = true;
    finish(m);
}

void vmm_machine_move_cancel(struct vmm_machine *m)
{
    struct machine_move *v = &m->move;
    struct vdev *dev[] = { v->next, v->last };
    struct process *process[] = { v->next_process, v->last_process };

    if (m->config.env->loop)
        vm_work_cancel(m->config.env->loop, &v->work);
    if (m->io_env.loop) {
        vm_work_cancel(m->io_env.loop, &v->io_work);
        vm_work_cancel(m->io_env.loop, &m->io_leave_work);
    }
    vm_timer_cancel(&v->timer);
    for (unsigned i = 0; i < VM_ARRAY_SIZE(dev); i++) {
        vdev_destroy(dev[i]);
        if (process[i])
            vmm_process_detach(process[i]);
        vmm_process_free(process[i]);
    }
    v->next = v->last = NULL;
    v->next_process = v->last_process = NULL;
}
