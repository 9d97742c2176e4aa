/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The guest's side of a virtqueue (VIRTIO 1.2, 2.7 and 2.8), for tests, fuzz targets and the
 * simulation: it offers buffers, takes them back, suppresses and wants notifications, checks what
 * the device does, and lies when told to.
 *
 *     struct fake_guest guest;                          RAM
 *     struct fake_driver drv;                           one queue in it
 *     fake_guest_init(&guest, 1 << 20);
 *     struct fake_config config = { .size = 8, .heap_bytes = 1 << 19 };
 *     fake_driver_init(&drv, guest.space, &config);
 *     ... give drv.size, drv.desc, drv.driver, drv.device to the device, start it ...
 *     struct fake_buf b = { fake_driver_alloc(&drv, 64), 64, true };
 *     id = fake_driver_offer(&drv, &b, 1);
 *     if (fake_driver_wants_kick(&drv)) ... kick the device ...
 *     fake_driver_collect(&drv, &id, &len);
 *
 * Deterministic: no clock, no random numbers, nothing global. Errors are return values: 0 (or a
 * number) and -errno. One thread per driver, beside the device's. An honest driver returns -EBADE
 * where the *device* broke the rules; drv->complaint then says how.
 */
#ifndef TESTS_SUPPORT_FAKE_DRIVER_H
#define TESTS_SUPPORT_FAKE_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/env.h>
#include <vmm/vm-memory/view.h>

/* One element of a chain. */
struct fake_buf {
    gpa_t addr;
    uint32_t len;
    bool write; /* the device writes it */
};

/* A descriptor as it lies in memory: split rings have next, packed ones the buffer id. */
struct fake_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, id_or_next;
};

enum {
    FAKE_F_NEXT = 1,
    FAKE_F_WRITE = 2,
    FAKE_F_INDIRECT = 4,
    FAKE_F_AVAIL = 1 << 7, /* packed */
    FAKE_F_USED = 1 << 15, /* packed */
};

/* RAM for a test: one anonymous region at address 0 in a space of its own. */
struct fake_guest {
    struct vm_env env; /* no log, a clock that stands still */
    struct gm_space *space;
    struct gm_region *region;
    uint8_t *host; /* the bytes of address 0 */
    uint64_t bytes;
};

/* bytes: a multiple of 4096. 0 or -errno of vm-memory. */
int fake_guest_init(struct fake_guest *guest, uint64_t bytes);
/* The same over memory of the caller's (page aligned), for fuzz targets. NULL: anonymous. */
int fake_guest_init_at(struct fake_guest *guest, void *host, uint64_t bytes);
/* The same in a memfd that other processes can map. */
int fake_guest_init_shared(struct fake_guest *guest, uint64_t bytes);
/* No view may be left. */
void fake_guest_exit(struct fake_guest *guest);

/* Zeros mean: rings at the start of the heap, heap from FAKE_HEAP on. */
enum { FAKE_HEAP = 0x1000 };
struct fake_config {
    uint16_t size; /* of the queue; split: a power of two */
    uint64_t features; /* negotiated bits: VQ_F_* of queue.h */
    gpa_t desc, driver, device; /* where the rings lie; all 0: in the heap */
    gpa_t heap; /* fake_driver_alloc() takes from [heap, heap + heap_bytes) */
    uint64_t heap_bytes; /* 0: no heap (then desc, driver and device must be given) */
    /* Split: first index instead of 0, to begin near the wrap (the device: vq_set_base(q, start)).
     */
    uint16_t start;
};

/*
 * What the driver wants to be told. ON: each chain that is used, as Linux does: with the event
 * index the driver asks anew after each one it collects. AT: once, when the after-th entry from the
 * next one to collect is used (split: chains; packed: descriptors; 0: the next one); without
 * VQ_F_EVENT_IDX the same as ON. After switching on, look at fake_driver_pending() again.
 */
enum fake_event { FAKE_EVENT_ON, FAKE_EVENT_OFF, FAKE_EVENT_AT };

struct fake_driver_slot; /* what is known of a chain in flight: internal */

struct fake_driver {
    struct gm_view view;
    uint16_t size;
    uint64_t features;
    gpa_t desc, driver, device;
    gpa_t heap, heap_next, heap_end, heap_first;

    uint64_t notified; /* fake_driver_notify() calls: interrupts of the device */
    uint64_t kicks; /* fake_driver_wants_kick() that were true */
    uint64_t offered, collected; /* chains */
    const char *complaint; /* how the device broke the rules; constant text; NULL: it did not */

    /* Where we are. Split: free-running indexes; packed: offsets with wrap counters. */
    uint16_t next_avail, next_used;
    bool avail_wrap, used_wrap;
    uint16_t start;
    uint16_t free_slots; /* ring entries the driver may still use */
    uint16_t free_head, free_tail; /* list of free descriptors (split) or ids (packed) */
    uint16_t oldest, newest; /* order of availability, for in-order devices */
    uint16_t staged; /* ring entries written and not yet published */
    uint16_t staged_at, staged_flags; /* packed: the first one's flags are written last */
    uint32_t unkicked; /* published since the last fake_driver_wants_kick() */
    enum fake_event event;
    struct fake_driver_slot *slot;
};

/* Clears the rings. 0; -EINVAL (size, no room); -ENOMEM; -EFAULT (not RAM). space is borrowed. */
int fake_driver_init(struct fake_driver *drv, struct gm_space *space,
                     const struct fake_config *config);
void fake_driver_exit(struct fake_driver *drv);
/* As after a device reset: clears the rings and forgets all chains. The heap is empty again but for
 * the rings. */
int fake_driver_reset(struct fake_driver *drv);

/* Guest memory: aligned to 16, zeroed; 0 where the heap is full. Nothing is freed but by reset. */
gpa_t fake_driver_alloc(struct fake_driver *drv, uint32_t len);
int fake_driver_write(struct fake_driver *drv, gpa_t gpa, const void *data, size_t len);
int fake_driver_read(struct fake_driver *drv, gpa_t gpa, void *data, size_t len);

/* Offers one chain and publishes it. Returns its id (head index or buffer id), -ENOSPC (ring or
 * heap full), -EINVAL (n is 0 or over 1024), -EFAULT. */
int fake_driver_offer(struct fake_driver *drv, const struct fake_buf *bufs, size_t n);
/* All of it in an indirect table. */
int fake_driver_offer_indirect(struct fake_driver *drv, const struct fake_buf *bufs, size_t n);
/* The first `direct` elements in the ring, the others in a table at their end (split
 * only: 2.7.5.3.2). */
int fake_driver_offer_mixed(struct fake_driver *drv, const struct fake_buf *bufs, size_t n,
                            size_t direct);
/* The halves: several chains become visible at once. direct as above, n for none in a table. */
int fake_driver_stage(struct fake_driver *drv, const struct fake_buf *bufs, size_t n,
                      size_t direct);
int fake_driver_publish(struct fake_driver *drv);

/* The device wants a notification for what was published since the last call (2.7.10, 2.8.10).
 * Counts in kicks. */
bool fake_driver_wants_kick(struct fake_driver *drv);

/* 1: *ret_id came back with *ret_len written bytes; 0: nothing more; -EBADE: the device broke the
 * rules (id that is not in flight, more bytes than the chain takes, out of order where in-order was
 * negotiated, index that jumps). */
int fake_driver_collect(struct fake_driver *drv, uint16_t *ret_id, uint32_t *ret_len);
/* There is something to collect. */
bool fake_driver_pending(struct fake_driver *drv);
/* Chains in flight. */
uint16_t fake_driver_in_flight(const struct fake_driver *drv);
/* The chain offered as id is still in flight. */
bool fake_driver_is_out(const struct fake_driver *drv, uint16_t id);

/* The device's interrupt arrives here. */
static inline void fake_driver_notify(struct fake_driver *drv)
{
    drv->notified++;
}

/* Switches. 0 or -EFAULT. */
int fake_driver_set_event(struct fake_driver *drv, enum fake_event how, uint16_t after);

/*
 * Lies. All write to the rings only: the driver's own state goes on as if it were honest.
 */

/* The ring's descriptor `slot`. */
int fake_driver_desc_get(struct fake_driver *drv, uint16_t slot, struct fake_desc *ret_desc);
int fake_driver_desc_set(struct fake_driver *drv, uint16_t slot, const struct fake_desc *desc);
/* Flags and next (split) or id (packed, where the AVAIL and USED bits in the ring are kept). */
int fake_driver_corrupt(struct fake_driver *drv, uint16_t slot, uint16_t flags, uint16_t next);
int fake_driver_corrupt_buf(struct fake_driver *drv, uint16_t slot, gpa_t addr, uint32_t len);
/* Entry `at` of the indirect table of the chain offered as id. -ENOENT: it has none, or fewer. */
int fake_driver_corrupt_table(struct fake_driver *drv, uint16_t id, uint16_t at,
                              const struct fake_desc *desc);
/* The address of that table; 0: none. */
gpa_t fake_driver_table(const struct fake_driver *drv, uint16_t id);
/* Split: the available index, an entry of the available ring, the used index, an entry of the used
 * ring. */
int fake_driver_corrupt_avail_idx(struct fake_driver *drv, uint16_t idx);
int fake_driver_corrupt_avail(struct fake_driver *drv, uint16_t at, uint16_t head);
int fake_driver_corrupt_used_idx(struct fake_driver *drv, uint16_t idx);
int fake_driver_corrupt_used(struct fake_driver *drv, uint16_t at, uint32_t id, uint32_t len);
/* Packed: flips the AVAIL and USED bits of descriptor `slot`: as if it were of the other round. */
int fake_driver_corrupt_wrap(struct fake_driver *drv, uint16_t slot);
/* Split: the driver area's flags and used_event. Packed: its flags and offset with wrap bit. */
int fake_driver_corrupt_event(struct fake_driver *drv, uint16_t flags, uint16_t event);

#endif
