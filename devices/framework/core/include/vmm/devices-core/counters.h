/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a device counts (class->metrics), where others can read it: the memory of a device in a process of its own lies in a memory file that its
 * VMM maps, too. So counting costs what it costs on a thread, reading asks nobody, and what a process had counted when it died is
 * what the next one begins with.
 *
 * In front stands a table with a row for each metric of the VMM's class; a process, which may be of another program, says by name where its own
 * is.
 *
 * Order (VMM): vdev_counters_new(); the fd goes to each process of the device; before each, vdev_counters_put(); vdev_counters_get() at
 * any time. (Process): vdev_counters_attach(), create() with the context's `counters`, vdev_counters_begin().
 *
 * The process may have been the guest's: what is read is a number, and may be a lie. No lock; one thread per side.
 */
#ifndef VMM_DEVICES_CORE_COUNTERS_H
#define VMM_DEVICES_CORE_COUNTERS_H

#include <vmm/devices-core/device.h>

/* Of the file; and of that, the table; the rest is the device's. Metrics of a class, and bytes of a metric's name with its zero byte, that fit
 * there. */
enum {
    VDEV_COUNTERS_BYTES = 256 << 10,
    VDEV_COUNTERS_TABLE = 16 << 10,
    VDEV_COUNTERS_ROWS = 256,
    VDEV_COUNTERS_NAME = 48
};

struct vdev_counters;

/* A new file, whose size is sealed. 0, or -errno with text. */
int vdev_counters_new(const char *id, struct vdev_counters **ret_counters);
/* Its fd, CLOEXEC; borrowed. */
int vdev_counters_fd(const struct vdev_counters *counters);
/* Somebody else's file; fd is borrowed for the call. 0; -EINVAL (not such a file) or -errno with text. */
int vdev_counters_attach(int fd, struct vdev_counters **ret_counters);
/* NULL is allowed. Devices that lie there are gone before. */
void vdev_counters_free(struct vdev_counters *counters);

/* One value for each row of cls->metrics, in that order. put: what the next process begins with, and what get tells until it has; the last
 * process is dead. */
void vdev_counters_get(const struct vdev_counters *counters, const struct vdev_class *cls,
                       uint64_t *ret_untrusted);
void vdev_counters_put(struct vdev_counters *counters, const struct vdev_class *cls,
                       const uint64_t *value);

/* dev was just created with these as its context's: it counts on from what was put. One that does not lie there (vdev_alloc) counts for itself. */
void vdev_counters_begin(struct vdev_counters *counters, struct vdev *dev);

/* Of a device here, likewise. read: any thread; write: before another thread knows of it. */
size_t vdev_metrics_count(const struct vdev_class *cls);
void vdev_metrics_read(const struct vdev *dev, uint64_t *ret_value);
void vdev_metrics_write(struct vdev *dev, const uint64_t *value);

#endif
