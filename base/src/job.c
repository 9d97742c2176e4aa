/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Jobs. The list and the numbers in it are guarded by a leaf lock, because cancel and list come
 * from any thread; call-backs run in the loop's thread, without the lock.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmm/base/job.h>
#include <vmm/base/lock.h>

struct vm_job {
    struct vm_jobs *jobs;
    const struct vm_job_ops *ops;
    void *ctx;
    struct vm_timer deadline;
    struct vm_list node;
    struct vm_job_info info;
    bool cancel_asked; /* by vm_job_cancel() */
    bool cancel_called; /* ops->cancel was called: once is enough */
};

struct vm_jobs {
    struct vm_loop *loop;
    /* A leaf: guards list, info and cancel_asked of all in it, and what ended. */
    struct vm_lock lock;
    struct vm_list list; /* oldest first */
    uint64_t last_id;
    struct vm_work cancel; /* of the set, not of a job: a job may end before the work runs */
    struct vm_job_ended ended[VM_JOBS_ENDED]; /* a ring: the n-th stands at n % VM_JOBS_ENDED */
    uint64_t ended_count;
    void (*listener)(void *ctx, const struct vm_job_ended *job);
    void *listener_ctx;
};

int vm_jobs_new(struct vm_loop *loop, struct vm_jobs **ret_jobs)
{
    struct vm_jobs *jobs = calloc(1, sizeof(*jobs));

    if (!jobs)
        return vm_fail(-ENOMEM, "jobs: out of memory");
    jobs->loop = loop;
    vm_lock_init(&jobs->lock, VM_RANK_LEAF, "jobs");
    vm_list_init(&jobs->list);
    *ret_jobs = jobs;
    return 0;
}

void vm_jobs_free(struct vm_jobs *jobs)
{
    if (!jobs)
        return;
    assert(vm_list_empty(&jobs->list) && "a job still runs");
    vm_work_cancel(jobs->loop, &jobs->cancel);
    vm_lock_destroy(&jobs->lock);
    free(jobs);
}

static void deadline_passed(struct vm_timer *timer)
{
    struct vm_job *job = container_of(timer, struct vm_job, deadline);

    job->ops->on_deadline(job->ctx);
}

static int set_deadline(struct vm_job *job, uint64_t timeout_ns)
{
    uint64_t start_ns = job->info.started_ns;
    uint64_t end_ns = timeout_ns > UINT64_MAX - start_ns ? UINT64_MAX : start_ns + timeout_ns;

    if (!timeout_ns || !job->ops->on_deadline)
        return 0;
    return vm_timer_set(job->jobs->loop, &job->deadline, end_ns, deadline_passed);
}

int vm_job_start(struct vm_jobs *jobs, const struct vm_job_ops *ops, void *ctx, uint64_t timeout_ns,
                 struct vm_job **ret_job)
{
    struct vm_job *job = calloc(1, sizeof(*job));
    int rc;

    if (!job)
        return vm_fail(-ENOMEM, "job %s: out of memory", ops->name);
    job->jobs = jobs;
    job->ops = ops;
    job->ctx = ctx;
    job->info.name = ops->name;
    job->info.started_ns = vm_loop_now_ns(jobs->loop);
    rc = set_deadline(job, timeout_ns);
    if (rc) {
        free(job);
        return vm_wrap(rc, "job %s", ops->name);
    }
    vm_lock_acquire(&jobs->lock);
    job->info.id = ++jobs->last_id;
    vm_list_add(&jobs->list, &job->node);
    vm_lock_release(&jobs->lock);
    *ret_job = job;
    return 0;
}

uint64_t vm_job_id(const struct vm_job *job)
{
    return job->info.id;
}

void vm_job_progress(struct vm_job *job, uint64_t done, uint64_t total)
{
    vm_lock_acquire(&job->jobs->lock);
    job->info.done = done;
    job->info.total = total;
    vm_lock_release(&job->jobs->lock);
}

void vm_job_end(struct vm_job *job, int code)
{
    struct vm_jobs *jobs = job->jobs;
    struct vm_job_ended row = { .id = job->info.id,
                                .started_ns = job->info.started_ns,
                                .ended_ns = vm_loop_now_ns(jobs->loop),
                                .result = { .code = code } };

    if (code < 0)
        vm_error_save(code, &row.result);
    snprintf(row.name, sizeof(row.name), "%s", job->info.name);
    vm_timer_cancel(&job->deadline);
    vm_lock_acquire(&jobs->lock);
    vm_list_del(&job->node);
    jobs->ended[jobs->ended_count++ % VM_JOBS_ENDED] = row;
    vm_lock_release(&jobs->lock);
    if (jobs->listener)
        jobs->listener(jobs->listener_ctx, &row);
    if (job->ops->done)
        job->ops->done(job->ctx, &row.result);
    free(job);
}

/* Under the lock: the job that is to be told next that it was cancelled. */
static struct vm_job *next_cancelled(struct vm_jobs *jobs)
{
    vm_list_for_each (node, &jobs->list) {
        struct vm_job *job = container_of(node, struct vm_job, node);

        if (job->cancel_asked && !job->cancel_called)
            return job;
    }
    return NULL;
}

/* From the start each time: a call-back may end its job, and others. */
static void tell_cancelled(struct vm_work *work)
{
    struct vm_jobs *jobs = container_of(work, struct vm_jobs, cancel);
    struct vm_job *job;

    do {
        vm_lock_acquire(&jobs->lock);
        job = next_cancelled(jobs);
        if (job)
            job->cancel_called = true;
        vm_lock_release(&jobs->lock);
        if (job)
            job->ops->cancel(job->ctx);
    } while (job);
}

static struct vm_job *find(struct vm_jobs *jobs, uint64_t id)
{
    vm_list_for_each (node, &jobs->list) {
        struct vm_job *job = container_of(node, struct vm_job, node);

        if (job->info.id == id)
            return job;
    }
    return NULL;
}

int vm_job_cancel(struct vm_jobs *jobs, uint64_t id)
{
    const char *name = "";
    struct vm_job *job;
    int rc = 0;

    vm_lock_acquire(&jobs->lock);
    job = find(jobs, id);
    if (!job) {
        rc = -ENOENT;
    } else if (!job->ops->cancel) {
        rc = -ENOTSUP;
        name = job->ops->name;
    } else {
        job->cancel_asked = true;
    }
    vm_lock_release(&jobs->lock);
    if (rc == -ENOENT)
        return vm_fail(rc, "job %llu does not run (any more)", (unsigned long long)id);
    if (rc)
        return vm_fail(rc, "job %llu (%s) cannot be cancelled", (unsigned long long)id, name);
    vm_loop_post(jobs->loop, &jobs->cancel, tell_cancelled);
    return 0;
}

size_t vm_jobs_list(struct vm_jobs *jobs, struct vm_job_info *ret_rows, size_t max)
{
    size_t count = 0;

    vm_lock_acquire(&jobs->lock);
    vm_list_for_each (node, &jobs->list) {
        if (count < max)
            ret_rows[count] = container_of(node, struct vm_job, node)->info;
        count++;
    }
    vm_lock_release(&jobs->lock);
    return count;
}

size_t vm_jobs_ended(struct vm_jobs *jobs, struct vm_job_ended *ret_rows, size_t max)
{
    uint64_t first, count;

    vm_lock_acquire(&jobs->lock);
    first = jobs->ended_count > VM_JOBS_ENDED ? jobs->ended_count - VM_JOBS_ENDED : 0;
    count = jobs->ended_count - first;
    for (uint64_t i = 0; i < count && i < max; i++)
        ret_rows[i] = jobs->ended[(first + i) % VM_JOBS_ENDED];
    vm_lock_release(&jobs->lock);
    return (size_t)count;
}

void vm_jobs_listen(struct vm_jobs *jobs, void (*ended)(void *ctx, const struct vm_job_ended *job),
                    void *ctx)
{
    jobs->listener = ended;
    jobs->listener_ctx = ctx;
}
