/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Objects that back ends share (vhost-user, SHARED_OBJECT; VIRTIO 1.2, 2.13 "Exporting Objects"): which back end of one machine has the
 * object of a name of 16 bytes, a dma-buf of a display for instance. One back end asks for it, and gets its descriptor from the other,
 * by way of their front ends. The machine makes one table and puts it into its struct vdev_machine; front ends do the rest.
 *
 * A name belongs to the back end that added it first, until that removes it or goes away. A back end has at most
 * VHOST_OBJECTS_OWNED names, and no more than one question under way.
 *
 * Threads: any; front ends of one table may be on different loops.
 */
#ifndef VMM_VHOST_OBJECTS_H
#define VMM_VHOST_OBJECTS_H

enum { VHOST_OBJECTS_OWNED = 256, VHOST_OBJECTS_MAX = 4096 };

struct vhost_objects;

/* 0 or -ENOMEM with text. */
int vhost_objects_new(struct vhost_objects **ret_objects);
/* No front end has it any more. NULL is allowed. */
void vhost_objects_free(struct vhost_objects *objects);

#endif
