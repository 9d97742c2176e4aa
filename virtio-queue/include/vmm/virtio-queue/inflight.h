/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The log of a queue's chains in flight, in memory that outlives the process: who comes after a back
 * end that died, ours or another, finishes what it had taken. Format and order of the stores:
 * vhost-user specification, "Inflight I/O tracking"; what we add is in docs/in-flight.md.
 *
 * Order: vq_init(), vq_set_inflight(), addresses (and base), vq_start(). A region whose version is 0
 * is initialised then. In any other the last batch is committed or taken back, the queue's indexes
 * are those of the log, and vq_next() hands out first what was in flight, oldest first, with
 * chain->replayed set. Nothing else changes for the owner of the queue.
 *
 * The region may be written by others at any time. It is read by vq_start(), once and checked, and by
 * vq_next() for a replayed chain of a packed ring, once and checked as if it came from the ring.
 * While the queue runs it is otherwise only written.
 *
 * A request that must not run twice is marked when its effect has taken place and before anybody can
 * know of it (the class says VDEV_REPLAY_MARKED): a replayed chain with chain->marked set needs its
 * answer only. Between effect and mark death still leads to a second run. Others than us ignore marks.
 */
#ifndef VMM_VIRTIO_QUEUE_INFLIGHT_H
#define VMM_VIRTIO_QUEUE_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/virtio-queue/queue.h>

/* Bytes from one queue's region to the next for queues of that many descriptors: a multiple of 64, as
 * other back ends have it. */
size_t vq_inflight_bytes(uint16_t size, bool packed);

/* The queue is stopped. region: aligned to 8 and mapped for writing until vq_exit() or the next call;
 * the caller's. NULL: no log. 0, -EINVAL with text (alignment, too small for one descriptor, the queue
 * runs) or -ENOMEM; on error the queue has no log. */
int vq_set_inflight(struct vq *q, void *region, size_t bytes);

/* The effect of the chain's request has taken place. Without a log: nothing. */
void vq_mark_done(struct vq *q, const struct vq_chain *chain);

/* Chains that vq_start() found in flight and vq_next() has not handed out yet. While there are any,
 * vq_save() cannot say where the queue is. */
uint32_t vq_replays(const struct vq *q);

#endif
