/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of a device that is in a process of its own.
 *
 *   process.c        connections, creation, end     process_words.c  what the process says: the I/O loop's
 *   process_start.c  starting it, opening for it: the control loop's       process_upgrade.c  with another program
 *   process_set.c  properties that change
 *   process_move.c   a thread's device becomes its device, and back
 */
#ifndef VMM_MACHINE_PROCESS_PRIVATE_H
#define VMM_MACHINE_PROCESS_PRIVATE_H

#include "machine_env.h"
#include "machine_private.h"
#include "names.h"

#include <vmm/base/fd.h>
#include <vmm/devices-core/counters.h>
#include <vmm/machine/process.h>
#include <vmm/vhost/frontend.h>

enum { PROCESS_FDS_MAX = 16 };
/* A process has this long to make its device; it may have to wait for another one's lock. */
#define PROCESS_READY_NS (10ULL * 1000000000ULL)

/* Our ends, or a process's, of its three sockets. */
struct process_ends {
    int vhost, channel, err;
};

struct process_question {
    uint64_t number;
    int row; /* of the name, in names */
};

/* The next process, or this one, runs another program and is on trial (process_upgrade.c). */
struct process_trial {
    bool wanted; /* the next one */
    bool runs, greeted, late;
    int binary_fd, profile_fd; /* -1: none */
    struct vm_timer timer;
    void (*done)(void *ctx, int code); /* NULL: there is no trial */
    void *ctx;
};

struct process {
    struct vmm_machine *m;
    const struct vdev_class *real;
    struct vdev_class cls; /* what the front end's device is to the machine */
    struct machine_env env; /* the I/O loop's, with our opener */
    char id[VDEV_ID_MAX + 1];
    char *text; /* NAME,KEY=VALUE,...: the process's options */
    void *config; /* a copy, which borrows what the device's points at, but for: */
    struct machine_list *lists; /* that were set */
    int profile_fd;
    int ledger_fd; /* -1: the class has no state */
    struct vdev_counters *counters; /* the class's metrics; the control loop's */
    struct vmm_child_fd user_fd[PROCESS_FDS_MAX];
    size_t user_fds;
    struct machine_names *names; /* the device's; borrowed */
    bool live;

    /* The I/O loop's thread. */
    struct vm_watch channel;
    struct vm_timer deadline; /* of READY */
    struct machine_lines err; /* a sanitizer's report, or which system call was refused */
    bool shaped; /* READY has come at least once: */
    struct vmm_process_shape shape;
    bool ready, failed; /* this process has said so */
    struct vm_error why;

    struct vhost_front *front; /* NULL: not yet, or no more */
    struct vm_work ended_work;

    pthread_mutex_t lock; /* guards what follows */
    struct process_ends ours, theirs; /* theirs: of a process that is still to be started */
    bool start, asked, kill; /* what the control loop is to do */
    bool held; /* no further process is started */
    bool runs; /* a process that was started has not told its end */
    bool detached; /* nobody is there any more who would want to know of it */
    struct process_question question;
    struct vmm_jail_result
        jail; /* of the last one that has said READY; its word, with zero bytes at the ends */
    struct {
        bool heard; /* this process has said READY */
        bool open, answered; /* question `number` */
        uint32_t number;
        struct vm_error answer;
    } set;

    /* The control loop's thread. */
    struct vm_work work, greeted_work, set_work;
    struct vmm_child *child;
    struct vm_error end; /* of the last one, code 0: all was well */
    bool end_told;
    bool killed; /* by us, who have let it go before */
    int binary_fd; /* of its processes; -1: the program that the VMM runs */
    struct process_trial trial;
    struct process_wait {
        void (*done)(void *ctx, int code); /* NULL: nobody waits */
        void *ctx;
    } arrival, leaving; /* a process serves the device; the last one is gone */
    struct vm_ratelimit end_limit;
    struct process_set *sets, **sets_end; /* to be changed, in order */
    bool set_sent; /* the first of them */
};

static inline void vmm_process_ends_close(struct process_ends *e)
{
    vm_close(&e->vhost);
    vm_close(&e->channel);
    vm_close(&e->err);
}

/* process_start.c */
/* The control loop does what start, asked and kill say. Any thread; at once before the machine runs. */
void vmm_process_serve_soon(struct process *p);

/* process_upgrade.c */
/* The front end has a process's greeting. The I/O loop. */
void vmm_process_greeted(struct process *p);
/* A process has ended, or did not start: p->end. The control loop. */
void vmm_process_trial_ended(struct process *p);
/* Nobody is told any more. */
void vmm_process_trial_free(struct process *p);

/* process_set.c */
/* A process hears, or has answered. Any thread. */
void vmm_process_sets_go_on(struct process *p);
/* A process has ended. The control loop. */
void vmm_process_set_ended(struct process *p);
/* SET_DONE; false: it was not asked. The I/O loop. */
bool vmm_process_take_set_done(struct process *p, const struct vmm_process_message *untrusted);

/* process.c: p->text says what p->config does. 0 or -errno with text: then it says what it did. */
int vmm_process_print_options(struct process *p);
/* process.c: the device that stands for it; fd: the connection, taken over. known: as in struct vhost_front_setup. 0, p->front; or -errno. */
int vmm_process_front(struct process *p, int fd, const struct vhost_front_known *known,
                      const struct vdev_context *context);
/* process_move.c: a process has come, or ended before (p->end); any one has ended. The control loop. */
void vmm_process_arrived(struct process *p, int code);
void vmm_process_left(struct process *p);

/* process.c: the filters, or the wish that the process compiles those of its own program. 0 or -errno with text. */
int vmm_process_profile(struct process *p, bool own_filters, int *ret_fd);

/* process_words.c: of the watch, on the I/O loop. */
void vmm_process_too_late(struct vm_timer *deadline);
void vmm_process_channel_ready(struct vm_watch *watch, uint32_t events);

#endif
