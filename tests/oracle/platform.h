/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Our side of the platform devices: one of them on a bus, its line and messages noted. Time stands still, as in QEMU. */
#ifndef TESTS_ORACLE_PLATFORM_H
#define TESTS_ORACLE_PLATFORM_H

#include "oracle.h"

#include <vmm/devices-core/device.h>

/* A device of that class with the resource, and wall_s seconds since 1970 on the clock. 0 or -errno with a line on stderr. */
int platform_open(const char *cls, const char *options, struct vdev_resource resource,
                  uint64_t wall_s);
void platform_close(void);
uint64_t platform_read(const struct oracle_place *place, uint32_t at, unsigned len);
void platform_write(const struct oracle_place *place, uint32_t at, unsigned len, uint64_t value);
void platform_pin(unsigned pin, bool level);
/* The power key goes down, or comes up after its time. */
void platform_key(unsigned pin, bool down);
void platform_events(struct oracle_events *ret_events);

/* A message as the local APICs see it. */
uint32_t platform_pack(const struct vdev_msi *msi);

#endif
