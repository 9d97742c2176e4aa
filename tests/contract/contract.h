/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What every device of the table must keep, whatever it does (docs/architecture.md): shared by the contract tests and the fuzz
 * target that is the same for all classes. A class needs no line here: what create() wants is made from its property table.
 */
#ifndef TESTS_CONTRACT_H
#define TESTS_CONTRACT_H

#include <vmm/devices-core/counters.h>
#include <vmm/devices/classes.h>

#include "virtio_harness.h"

enum { CONTRACT_RAM = 1 << 20, CONTRACT_OPTIONS = 512 };

/* A class that another program serves has nothing of its own to keep: what its front end keeps is tested in devices/framework/vhost. */
static inline bool contract_is_own(const struct vdev_class *cls)
{
    return cls->placements & (VDEV_THREAD | VDEV_PROCESS);
}

/* It may be served by another process of ours: it takes up what one that died left. */
static inline bool contract_is_mobile(const struct vdev_class *cls)
{
    return cls->placements & VDEV_PROCESS;
}

/* env.open of the harness: one image for every name. */
int contract_open_image(void *ctx, const char *name, unsigned how);
/* Options for vh_create(): a value for each required property, and a back end that keeps to itself. */
void contract_options(const struct vdev_class *cls, char ret_options[CONTRACT_OPTIONS]);
/* A machine with one device of the class. c->ram_bytes is set. 0, or what vh_create() said. */
int contract_open(struct vh *h, const struct vdev_class *cls, struct vh_config c);
/* The same with more options, as on the command line; NULL: none. */
int contract_open_with(struct vh *h, const struct vdev_class *cls, struct vh_config c,
                       const char *more);
/* Another device of the class in its place, over the same memory. */
int contract_replace(struct vh *h, const struct vdev_class *cls);
void contract_close(struct vh *h);

/* Each queue of a device that was started gets some sound chains, and is kicked; nothing is served yet. */
void contract_offer(struct vh *h);
/* Starts, and gives each queue some sound chains of all shapes with contents from the harness's generator. */
int contract_use(struct vh *h);

/* Ways in which a driver breaks a ring; each leaves one chain that is wrong. false: the ring format has no such way. */
enum contract_break {
    CONTRACT_LOOP,
    CONTRACT_INDEX,
    CONTRACT_ADDRESS,
    CONTRACT_DIRECTION,
    CONTRACT_EMPTY_TABLE,
    CONTRACT_BREAKS
};
bool contract_break_ring(struct vh *h, uint16_t n, enum contract_break how);

#endif
