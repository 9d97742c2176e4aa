/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A device's process that dies when told to, in a program of one process, on one loop: a device behind a vhost-user back end, with
 * an environment of its own.
 *
 *     struct mortal *m;
 *     mortal_new(&context, cls, &m);                  context.env: of those who live on
 *     mortal_serve(m, fd);                            its end of the front end's socket
 *     mortal_arm(m, 7);                               ... dies at the seventh place from now
 *     mortal_kill(m);                                 ... or now
 *     mortal_end(m);                                  when the front end is gone, too
 *
 * Death. Nothing that the process does reaches anybody from that moment on: its mapping of the guest's memory and of the log of
 * requests in flight become private, its ledger is left as it is, its eventfds and files are others, its socket is shut down. What its code still does, until it
 * finds that its session has ended, only a ghost does; so there is nothing to unwind and no lock to break, and death may come
 * anywhere. All that the others see is what kill(2) with SIGKILL would have left.
 *
 * Places. Before and after each store into rings and log (mortal_store.h; the program is linked with target vmm-mortal-queue), and
 * where the owner counts one with mortal_place(): between two rounds of the loop, say.
 */
#ifndef TESTS_SUPPORT_MORTAL_H
#define TESTS_SUPPORT_MORTAL_H

#include <vmm/vhost/backend.h>

enum { MORTAL_FILES = 8 };

struct mortal {
    struct vm_env env;
    const struct vm_env *world;
    struct gm_space *space;
    struct virtio_dev *dev;
    struct vhost_backend *back;
    int socket; /* -1: not served yet */
    int file[MORTAL_FILES]; /* what it opened */
    unsigned files;
    bool dead;
    bool over; /* its session has ended: mortal_end() may come */
    unsigned places; /* so far */
    unsigned last; /* the place that it dies at; 0: none */
    struct mortal *next;
};

/* context->memory is not used. -errno of create(), with text. */
int mortal_new(const struct vdev_context *context, const struct vdev_class *cls, const void *config,
               struct mortal **ret_mortal);
/* Before it serves: what its device is to remember, and to take over (vmm/devices-core/ledger.h). fd is borrowed. */
int mortal_ledger(struct mortal *m, int fd);
/* Takes fd over. */
int mortal_serve(struct mortal *m, int fd);
/* One more place of this process that lives. */
void mortal_place(struct mortal *m);
/* It dies at the n-th place from now; 0: at none. */
void mortal_arm(struct mortal *m, unsigned n);
void mortal_kill(struct mortal *m);
/* Rings are served. */
bool mortal_serves(const struct mortal *m);
/* The log of what is in flight in queue n, as it is mapped; NULL: none. For who plants a bug. */
uint8_t *mortal_log(const struct mortal *m, uint16_t n);
/* Frees it: after its session, or without one. NULL is allowed. */
void mortal_end(struct mortal *m);

#endif
