/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmm device: one device, served until its front end has gone for good or a signal comes. */
#ifndef VMM_CONTROL_DEVICE_H
#define VMM_CONTROL_DEVICE_H

#include <vmm/devices/classes.h>
#include <vmm/machine/machine.h>

#include "listener.h"

struct device_service {
    const struct vdev_class *cls;
    const void *config; /* the class's */
    const char *id;
    struct listener listener; /* fd -1: fd below is all there is */
    int fd; /* connected, or listened on; -1: see listener */
    uint32_t log_level;
    bool namespaces; /* its jail has them */
    int channel_fd; /* of the VMM, or the parent, whose child this is (vmm/machine/process.h); -1: it is nobody's */
    int profile_fd; /* of its jail; -1: none */
    int counters_fd; /* vmm/devices-core/counters.h; -1: none */
    int ledger_fd; /* vmm/devices-core/ledger.h; -1: none */
    bool alone; /* somebody started it by hand: signals end it */
};

/* device_parent.c: each in a process of its own, jailed (sandbox.filters), until a signal ends them or all have ended. Gives an enum
 * vmm_exit. */
int vmm_device_serve_all(struct device_service *service, unsigned count,
                         const struct vmm_machine_sandbox *sandbox);

/* Gives an enum vmm_exit. SIGTERM and SIGINT end it. */
int vmm_device_serve(struct device_service *service);

#endif
