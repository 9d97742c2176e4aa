/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <vmm/base/job.h>

struct run {
    struct vm_loop *loop;
    struct vm_jobs *jobs;
    struct vm_job *job;
    unsigned cancels, deadlines, dones;
    struct vm_error result;
};

static void on_cancel(void *ctx)
{
    struct run *run = ctx;

    run->cancels++;
}

static void on_deadline(void *ctx)
{
    struct run *run = ctx;

    run->deadlines++;
}

static void on_done(void *ctx, const struct vm_error *result)
{
    struct run *run = ctx;

    run->dones++;
    run->result = *result;
}

static const struct vm_job_ops ops = { "reset", on_cancel, on_deadline, on_done };

static struct run make_run(void)
{
    static const struct vm_env env = { 0 };
    struct run run = { 0 };

    cr_assert_eq(vm_loop_new(&env, VM_LOOP_VIRTUAL, &run.loop), 0);
    cr_assert_eq(vm_jobs_new(run.loop, &run.jobs), 0);
    return run;
}

static void end_run(struct run *run)
{
    vm_jobs_free(run->jobs);
    vm_loop_free(run->loop);
}

static void start(struct run *run, const struct vm_job_ops *job_ops, uint64_t timeout_ns)
{
    cr_assert_eq(vm_job_start(run->jobs, job_ops, run, timeout_ns, &run->job), 0);
}

Test(job, ends_once_with_its_code)
{
    struct run run = make_run();

    vm_fail(-EIO, "old news");
    start(&run, &ops, 0);
    vm_job_end(run.job, 0);

    cr_assert_eq(run.dones, 1);
    cr_assert_eq(run.result.code, 0);
    cr_assert_str_eq(run.result.text, "", "success has no text");
    end_run(&run);
}

Test(job, a_failure_carries_its_text)
{
    struct run run = make_run();

    start(&run, &ops, 0);
    vm_job_end(run.job, vm_fail(-EIO, "disk is gone"));

    cr_assert_eq(run.result.code, -EIO);
    cr_assert_str_eq(run.result.text, "disk is gone");
    end_run(&run);
}

Test(job, ids_are_never_zero_and_never_used_again)
{
    struct run run = make_run();

    start(&run, &ops, 0);
    uint64_t first = vm_job_id(run.job);
    vm_job_end(run.job, 0);
    start(&run, &ops, 0);
    uint64_t second = vm_job_id(run.job);
    vm_job_end(run.job, 0);

    cr_assert_neq(first, 0);
    cr_assert_neq(second, 0);
    cr_assert_neq(first, second);
    end_run(&run);
}

Test(job, the_deadline_calls_once_and_the_job_goes_on)
{
    struct run run = make_run();

    start(&run, &ops, 100);
    vm_loop_step(run.loop, 99);
    cr_assert_eq(run.deadlines, 0);
    vm_loop_step(run.loop, 1);
    vm_loop_step(run.loop, 1000);
    cr_assert_eq(run.deadlines, 1);
    cr_assert_eq(run.dones, 0);
    vm_job_end(run.job, -ETIMEDOUT);

    cr_assert_eq(run.result.code, -ETIMEDOUT);
    end_run(&run);
}

Test(job, an_ended_job_has_no_deadline)
{
    struct run run = make_run();

    start(&run, &ops, 100);
    vm_job_end(run.job, 0);
    vm_loop_step(run.loop, 1000);

    cr_assert_eq(run.deadlines, 0);
    end_run(&run);
}

Test(job, a_deadline_beyond_the_end_of_time_is_no_error)
{
    struct run run = make_run();

    vm_loop_step(run.loop, 1000);
    start(&run, &ops, UINT64_MAX);
    vm_loop_step(run.loop, 1000);

    cr_assert_eq(run.deadlines, 0);
    vm_job_end(run.job, 0);
    end_run(&run);
}

Test(job, without_deadline_call_back_there_is_no_deadline)
{
    static const struct vm_job_ops bare = { .name = "bare" };
    struct run run = make_run();

    start(&run, &bare, 100);
    vm_loop_step(run.loop, 1000);
    vm_job_end(run.job, 0);

    cr_assert_eq(vm_jobs_list(run.jobs, NULL, 0), 0);
    end_run(&run);
}

Test(job, cancel_asks_once_in_the_loop)
{
    struct run run = make_run();

    start(&run, &ops, 0);
    cr_assert_eq(vm_job_cancel(run.jobs, vm_job_id(run.job)), 0);
    cr_assert_eq(run.cancels, 0, "not in the caller");
    vm_loop_step(run.loop, 0);
    cr_assert_eq(run.cancels, 1);
    cr_assert_eq(vm_job_cancel(run.jobs, vm_job_id(run.job)), 0);
    vm_loop_step(run.loop, 0);

    cr_assert_eq(run.cancels, 1);
    vm_job_end(run.job, -ECANCELED);
    end_run(&run);
}

Test(job, a_job_that_ends_before_its_cancel_arrives_is_not_told)
{
    struct run run = make_run();

    start(&run, &ops, 0);
    vm_job_cancel(run.jobs, vm_job_id(run.job));
    vm_job_end(run.job, 0);
    vm_loop_step(run.loop, 0);

    cr_assert_eq(run.cancels, 0);
    end_run(&run);
}

Test(job, the_set_can_go_with_a_cancel_still_posted)
{
    struct run run = make_run();

    start(&run, &ops, 0);
    vm_job_cancel(run.jobs, vm_job_id(run.job));
    vm_job_end(run.job, 0);
    vm_jobs_free(run.jobs);
    vm_loop_step(run.loop, 0);

    vm_loop_free(run.loop);
}

Test(job, cancelling_what_does_not_run_is_enoent)
{
    struct run run = make_run();

    cr_assert_eq(vm_job_cancel(run.jobs, 17), -ENOENT);
    cr_assert_str_eq(vm_error_text(), "job 17 does not run (any more)");
    end_run(&run);
}

Test(job, what_cannot_be_cancelled_says_so)
{
    static const struct vm_job_ops fixed = { .name = "power-off", .done = on_done };
    struct run run = make_run();

    start(&run, &fixed, 0);
    cr_assert_eq(vm_job_cancel(run.jobs, vm_job_id(run.job)), -ENOTSUP);
    cr_assert_str_eq(vm_error_text(), "job 1 (power-off) cannot be cancelled");

    vm_job_end(run.job, 0);
    end_run(&run);
}

static void end_at_once(void *ctx)
{
    struct run *run = ctx;

    run->cancels++;
    vm_job_end(run->job, -ECANCELED);
}

Test(job, several_cancelled_jobs_may_end_in_their_call_back)
{
    static const struct vm_job_ops quick = { "quick", end_at_once, NULL, on_done };
    struct run run = make_run();
    struct run other = { .loop = run.loop, .jobs = run.jobs };

    start(&run, &quick, 0);
    start(&other, &quick, 0);
    vm_job_cancel(run.jobs, vm_job_id(run.job));
    vm_job_cancel(run.jobs, vm_job_id(other.job));
    vm_loop_step(run.loop, 0);

    cr_assert_eq(run.dones + other.dones, 2);
    cr_assert_eq(run.result.code, -ECANCELED);
    end_run(&run);
}

Test(job, the_list_tells_what_runs_oldest_first)
{
    struct run run = make_run();
    struct run other = { .loop = run.loop, .jobs = run.jobs };
    struct vm_job_info rows[2];

    vm_loop_step(run.loop, 500);
    start(&run, &ops, 0);
    start(&other, &ops, 0);
    vm_job_progress(run.job, 3, 10);
    cr_assert_eq(vm_jobs_list(run.jobs, rows, 1), 2, "all are counted, one is written");
    cr_assert_eq(vm_jobs_list(run.jobs, rows, 2), 2);

    cr_assert_eq(rows[0].id, vm_job_id(run.job));
    cr_assert_str_eq(rows[0].name, "reset");
    cr_assert_eq(rows[0].done, 3);
    cr_assert_eq(rows[0].total, 10);
    cr_assert_eq(rows[0].started_ns, 500);
    cr_assert_eq(rows[1].id, vm_job_id(other.job));
    vm_job_end(run.job, 0);
    vm_job_end(other.job, 0);
    end_run(&run);
}

Test(job, the_last_ones_that_ended_are_kept_with_their_results)
{
    struct vm_job_ended rows[VM_JOBS_ENDED];
    struct run run = make_run();

    start(&run, &ops, 0);
    vm_loop_step(run.loop, 500);
    vm_job_end(run.job, vm_fail(-EIO, "disk is gone"));
    start(&run, &ops, 0);
    vm_job_end(run.job, 0);

    cr_assert_eq(vm_jobs_ended(run.jobs, rows, 1), 2, "all are counted, one is written");
    cr_assert_eq(vm_jobs_ended(run.jobs, rows, VM_JOBS_ENDED), 2);
    cr_assert_eq(rows[0].id, 1);
    cr_assert_str_eq(rows[0].name, "reset");
    cr_assert_eq(rows[0].ended_ns - rows[0].started_ns, 500);
    cr_assert_eq(rows[0].result.code, -EIO);
    cr_assert_str_eq(rows[0].result.text, "disk is gone");
    cr_assert_eq(rows[1].id, 2);
    cr_assert_eq(rows[1].result.code, 0);
    cr_assert_str_eq(rows[1].result.text, "");
    end_run(&run);
}

Test(job, older_ones_that_ended_are_forgotten)
{
    struct vm_job_ended rows[VM_JOBS_ENDED];
    struct run run = make_run();

    for (uint64_t i = 1; i <= VM_JOBS_ENDED + 3; i++) {
        size_t kept = i < VM_JOBS_ENDED ? i : VM_JOBS_ENDED;

        start(&run, &ops, 0);
        vm_job_end(run.job, 0);

        cr_assert_eq(vm_jobs_ended(run.jobs, rows, VM_JOBS_ENDED), kept);
        cr_assert_eq(rows[0].id, i - kept + 1);
        cr_assert_eq(rows[kept - 1].id, i);
    }
    end_run(&run);
}

struct heard {
    unsigned count;
    struct run *run;
    struct vm_job_ended last;
};

static void hear_end(void *ctx, const struct vm_job_ended *job)
{
    struct heard *heard = ctx;

    heard->count++;
    heard->last = *job;
    cr_assert_eq(heard->run->dones, 0, "its own call-back comes behind");
    cr_assert_eq(vm_jobs_list(heard->run->jobs, NULL, 0), 0);
}

Test(job, a_listener_is_told_each_end_until_it_listens_no_more)
{
    struct run run = make_run();
    struct heard heard = { .run = &run };

    vm_jobs_listen(run.jobs, hear_end, &heard);
    start(&run, &ops, 0);
    vm_job_end(run.job, vm_fail(-ECANCELED, "enough"));
    vm_jobs_listen(run.jobs, NULL, NULL);
    start(&run, &ops, 0);
    vm_job_end(run.job, 0);

    cr_assert_eq(heard.count, 1);
    cr_assert_eq(heard.last.id, 1);
    cr_assert_eq(heard.last.result.code, -ECANCELED);
    cr_assert_str_eq(heard.last.result.text, "enough");
    end_run(&run);
}

static void *cancel_all(void *arg)
{
    struct run *run = arg;
    struct vm_job_info row;

    while (!vm_jobs_list(run->jobs, &row, 1) || vm_job_cancel(run->jobs, row.id))
        sched_yield();
    return NULL;
}

static void done_stops(void *ctx, const struct vm_error *result)
{
    struct run *run = ctx;

    on_done(ctx, result);
    vm_loop_stop(run->loop);
}

Test(job, another_thread_can_list_and_cancel)
{
    static const struct vm_job_ops quick = { "quick", end_at_once, NULL, done_stops };
    struct run run = make_run();
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, cancel_all, &run), 0);
    start(&run, &quick, 0);
    cr_assert_eq(vm_loop_run(run.loop), 0);
    pthread_join(thread, NULL);

    cr_assert_eq(run.cancels, 1);
    cr_assert_eq(run.dones, 1);
    end_run(&run);
}
