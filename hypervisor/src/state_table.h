/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is common to all implementations about a state kind: whose it is, its size, KVM's calls. */
#ifndef HV_STATE_TABLE_H
#define HV_STATE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <vmm/hypervisor/state.h>

enum {
    STATE_BY_VALUE = 1, /* the value is the ioctl's argument (set) or its result (get) */
    STATE_AT_LEAST = 2, /* size is a minimum */
    STATE_COUNT_64 = 4, /* list whose count has 64 bits */
};

struct state_row {
    const char *name;
    uint8_t object; /* enum hv_object */
    uint8_t flags;
    uint16_t entry; /* list: bytes of one entry */
    uint32_t size; /* bytes, or of a list's head */
    unsigned long get, set; /* ioctls; 0: not here */
};

/* NULL for a number that is none. */
const struct state_row *hv_state_row(enum hv_state kind);

/* Checks that kind belongs to object, exists in this direction and architecture, and that size
 * fits, lists with their entries. -EINVAL or -ENOTSUP with text. */
int hv_state_check(enum hv_state kind, enum hv_object object, int is_set, const void *buf,
                   size_t size);

/* The count field of a list. */
uint64_t hv_state_count(const struct state_row *row, const void *buf);

#endif
