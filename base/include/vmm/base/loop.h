/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The event loop: file descriptors, timers and posted work, on the one thread that runs it.
 *
 * Order: vm_loop_new(), add watches and timers, vm_loop_run() in the loop's thread until
 * vm_loop_stop(); at the end everything is removed, then vm_loop_free(). Call-backs run in the
 * loop's thread, one at a time, and may add, change and remove anything, themselves included.
 *
 * Real time: epoll_wait(2). Virtual time (VM_LOOP_VIRTUAL): the loop has its own clock that stands
 * still while there is work and jumps to the next timer when there is none; fds are polled without
 * waiting; the order of equal deadlines is the order in which they were set. So a run is a function
 * of its inputs.
 *
 * Threads: vm_loop_post() and vm_loop_stop() may be called from any thread (and post also from a
 * signal handler's thread, not the handler itself); all else belongs to the loop's thread, or to
 * anyone before the loop runs.
 */
#ifndef VMM_BASE_LOOP_H
#define VMM_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <vmm/base/env.h>
#include <vmm/base/util.h>

struct vm_loop;

enum { VM_LOOP_VIRTUAL = 1 };

/* env gives the monotonic clock in real time (its loop field is not used). Returns 0 or -ENOMEM: file
 * descriptors are opened when they are first needed, by vm_watch_add() or the first wait. */
int vm_loop_new(const struct vm_env *env, unsigned flags, struct vm_loop **ret_loop);

/* NULL is allowed. No watch and no timer may be active any more; posted work is dropped unseen. */
void vm_loop_free(struct vm_loop *loop);

/* A file descriptor that is watched. Zero it before first use; the struct belongs to the caller and
 * stays where it is until vm_watch_del(). events are EPOLLIN, EPOLLOUT, EPOLLET...; EPOLLERR and
 * EPOLLHUP always come, but for a paused watch. */
struct vm_watch {
    struct vm_loop *loop;
    int fd;
    uint32_t events;
    void (*ready)(struct vm_watch *watch, uint32_t events);
    bool active;
    struct vm_list node;
};

/* Borrows fd until vm_watch_del(). 0, -EEXIST (already active) or -errno (EPERM: a regular
 * file; EMFILE: no descriptor for the loop itself). */
int vm_watch_add(struct vm_loop *loop, struct vm_watch *watch, int fd, uint32_t events,
                 void (*ready)(struct vm_watch *watch, uint32_t events));
/* Changes what is waited for; 0 pauses the watch: then nothing comes, not even EPOLLHUP. Events
 * that are not asked for any more do not come, even if they were seen before. 0 or -errno. */
int vm_watch_set(struct vm_watch *watch, uint32_t events);
/* After it the call-back does not come any more. Harmless when not active. Before close(fd). */
void vm_watch_del(struct vm_watch *watch);

/* A timer, one shot. Zero it before first use; the struct stays where it is while armed. */
struct vm_timer {
    struct vm_loop *loop;
    uint64_t deadline_ns;
    uint64_t sequence;
    void (*fired)(struct vm_timer *timer);
    uint32_t slot; /* place in the heap + 1; 0: not armed */
};

/* (Re)arms for an absolute time of the loop's clock; a past one fires in the next round. -ENOMEM.
 * deadline_ns keeps the time that was asked for: a period is added to it without drift. */
int vm_timer_set(struct vm_loop *loop, struct vm_timer *timer, uint64_t deadline_ns,
                 void (*fired)(struct vm_timer *timer));
void vm_timer_cancel(struct vm_timer *timer);

/* Work to be done once in the loop's thread. Zero it before first use; posting what is already
 * posted does nothing (the call-back then sees the newest state). Work runs in the order in which
 * it was posted; the call-back may post its own work again (it runs in the next round) or free it.
 * No allocation, no lock; a system call only when the loop sleeps. */
struct vm_work {
    void (*run)(struct vm_work *work);
    struct vm_work *next;
    unsigned posted;
};
void vm_loop_post(struct vm_loop *loop, struct vm_work *work, void (*run)(struct vm_work *work));
/* After it the call-back does not come any more, unless it is posted again: before the work's
 * memory goes. Loop's thread only, and nobody may be posting the same work meanwhile. Harmless when
 * the work is not posted. */
void vm_work_cancel(struct vm_loop *loop, struct vm_work *work);

/* The loop's time: monotonic, or virtual (which starts at 0). */
uint64_t vm_loop_now_ns(const struct vm_loop *loop);

/* Runs until vm_loop_stop(), also one that came before; a stop ends one run only. 0 or -errno of
 * epoll_wait. In virtual time with nothing left to jump to it waits for an fd or a post. */
int vm_loop_run(struct vm_loop *loop);

/* One round: waits at most timeout_ns (UINT64_MAX: no limit; virtual time: the most that the clock
 * may jump) and serves what is due. Returns the number of call-backs (0 with UINT64_MAX in virtual
 * time: nothing is left to happen by itself), or -errno; -EDEADLK from inside a call-back. */
int vm_loop_step(struct vm_loop *loop, uint64_t timeout_ns);

/* Makes vm_loop_run() return after the current call-back. */
void vm_loop_stop(struct vm_loop *loop);

/* Nobody runs the loop until there is something to do, so that who composes can do without its
 * thread: true if there is nothing now, no work, no timer and no watch that waits. Then the loop is
 * nobody's (vm_loop_is_mine() is false everywhere), and the first vm_loop_post() or vm_loop_stop()
 * calls wanted(), once, in its own thread and under whatever locks that holds: it sees to it that
 * vm_loop_run() comes. False: run it at once; wanted() may still have been called, if a post came
 * meanwhile. By who may run the loop, outside of it. */
bool vm_loop_rest(struct vm_loop *loop, void (*wanted)(void *ctx), void *ctx);
/* Takes it back, before anybody runs the loop: at the end. Nobody may be posting meanwhile. */
void vm_loop_rest_end(struct vm_loop *loop);

/* True in the thread that runs the loop (or stepped it last), and in every thread while none does:
 * the caller may call what belongs to the loop's thread. */
bool vm_loop_is_mine(const struct vm_loop *loop);

#endif
