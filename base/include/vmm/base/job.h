/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Jobs: what may take over 10 ms (a reset that waits for requests, quiesce, snapshot, conversion).
 * A job holds no lock while it waits and ends exactly once; the set keeps how the last ones ended,
 * and tells who listens.
 *
 *   new --start--> running --vm_job_end()--> done
 *                     |  vm_job_cancel(): asks; the work decides, and ends with -ECANCELED
 *                     |  deadline passes: on_deadline, once; the work must then end
 *
 * Threads: created, progressed and ended in the loop's thread, where all call-backs come;
 * vm_job_cancel(), vm_jobs_list() and vm_jobs_ended() from any thread.
 */
#ifndef VMM_BASE_JOB_H
#define VMM_BASE_JOB_H

#include <vmm/base/error.h>
#include <vmm/base/loop.h>

struct vm_job;

struct vm_job_ops {
    const char *name; /* "reset", "quiesce" ... */
    void (*cancel)(void *ctx); /* asked to stop; NULL: cannot be cancelled */
    void (*on_deadline)(void *ctx); /* too late; NULL: no deadline */
    /* Once; the job is freed after it. May be NULL. */
    void (*done)(void *ctx, const struct vm_error *result);
};

struct vm_jobs; /* the set that gives ids and lists */

int vm_jobs_new(struct vm_loop *loop, struct vm_jobs **ret_jobs);
/* NULL is allowed. Nothing may run any more. In the loop's thread. */
void vm_jobs_free(struct vm_jobs *jobs);

/* Starts a job; timeout_ns 0 means no deadline. ops and ctx are borrowed until done. -ENOMEM. */
int vm_job_start(struct vm_jobs *jobs, const struct vm_job_ops *ops, void *ctx, uint64_t timeout_ns,
                 struct vm_job **ret_job);
/* Never 0, never used twice in a set. */
uint64_t vm_job_id(const struct vm_job *job);
void vm_job_progress(struct vm_job *job, uint64_t done, uint64_t total);
/* Ends it: copies code and, when negative, the thread's error text; calls done; frees the job. */
void vm_job_end(struct vm_job *job, int code);
/* Asks; ops->cancel comes later in the loop's thread, once, unless the job has ended by then. 0,
 * -ENOENT (ended already) or -ENOTSUP. */
int vm_job_cancel(struct vm_jobs *jobs, uint64_t id);

struct vm_job_info {
    uint64_t id, done, total, started_ns;
    const char *name;
};
/* Writes up to max rows, oldest first; returns how many jobs there are. */
size_t vm_jobs_list(struct vm_jobs *jobs, struct vm_job_info *ret_rows, size_t max);

enum { VM_JOBS_ENDED = 8, VM_JOB_NAME_MAX = 31 };
struct vm_job_ended {
    uint64_t id, started_ns, ended_ns;
    char name[VM_JOB_NAME_MAX + 1];
    struct vm_error result; /* its text is empty where the code is 0 */
};
/* Writes up to max of the last VM_JOBS_ENDED jobs that ended, oldest first; returns how many there
 * are. */
size_t vm_jobs_ended(struct vm_jobs *jobs, struct vm_job_ended *ret_rows, size_t max);
/* The set's one listener: ended is called for each job that ends, in the loop's thread, before the job's
 * done(). NULL: nobody listens any more. In the loop's thread. */
void vm_jobs_listen(struct vm_jobs *jobs, void (*ended)(void *ctx, const struct vm_job_ended *job),
                    void *ctx);

#endif
