/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The ledger of a device: what must not be lost when the process that serves it ends, in a small memory file that belongs to its
 * VMM. The next process takes it over, and so does a device on a thread that takes the process's place.
 *
 * Two things stand in it, by turns:
 *   - while the device works, the rows of class->ledger: what the guest has told it beside its rings. Devices say with
 *     vdev_ledger_changed() that this changed, before the guest sees that it was taken; their framework says it for all of them
 *     when they begin to work and when they are reset;
 *   - once it was quiesced, the whole state, as in a snapshot.
 *
 * Order (VMM): vdev_ledger_new(); the fd goes to each process of the device. (Process): create, vdev_ledger_attach(), serve,
 * vdev_ledger_detach() before a reset that is not the guest's. (VMM, while no process has it): vdev_ledger_get(),
 * vdev_ledger_put().
 *
 * A process writes one of two slots and then says which one counts, so that one that dies while it writes leaves the other. What is read is
 * believed no more than a snapshot: the process may have been the guest's.
 *
 * Threads: of a device's calls, any, under its lock; get and put have no state.
 */
#ifndef VMM_DEVICES_CORE_LEDGER_H
#define VMM_DEVICES_CORE_LEDGER_H

#include <vmm/devices-core/device.h>

/* Of the file; a section may have half of it, less a header. */
enum { VDEV_LEDGER_BYTES = 64 << 10 };

/* A new, empty file, whose size is sealed; CLOEXEC, the caller's. The fd, or -errno with text. */
int vdev_ledger_new(const char *id);

/* dev was just created: it takes over what the ledger holds, and keeps it up to date from now on. What cannot be taken over is
 * logged, and the device is as after a reset. fd is borrowed for the call. 0; -EINVAL (not such a file) or -errno with text. */
int vdev_ledger_attach(struct vdev *dev, int fd);
/* The ledger stays as it is. Harmless without one; vdev_exit() does it, too. */
void vdev_ledger_detach(struct vdev *dev);

/* For devices, under their lock: rows of class->ledger have changed. Nothing where there is no ledger. */
void vdev_ledger_changed(struct vdev *dev);

/* A state struct of the class, zeroed or preset before, from the ledger. -ENODATA (it holds nothing yet; the struct is as before),
 * -EPROTO and the like (broken), with text. */
int vdev_ledger_get(const struct vdev_class *cls, int fd, void *ret_untrusted);
/* The ledger holds *state, all of it. 0 or -errno with text. */
int vdev_ledger_put(const struct vdev_class *cls, int fd, const void *state);

#endif
