/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Our side of the virtio devices: virtio-rng behind each transport, and what a firmware finds of it. */
#ifndef TESTS_ORACLE_GUEST_H
#define TESTS_ORACLE_GUEST_H

#include "oracle.h"

enum { GUEST_RAM = 64 << 20, GUEST_SLOT = 2 };
/* Where ECAM and BARs are put, on both sides. */
#define GUEST_ECAM 0xb0000000ULL
#define GUEST_BARS 0xe0000000ULL
#define GUEST_MMIO 0xd0000000ULL

int guest_open_pci(void);
int guest_open_mmio(void);
void guest_close(void);
uint64_t guest_read(const struct oracle_place *place, uint32_t at, unsigned len);
void guest_write(const struct oracle_place *place, uint32_t at, unsigned len, uint64_t value);
void guest_events(struct oracle_events *ret_events);

/* What a function's capabilities say. */
struct guest_function {
    struct oracle_place header, msix, table, pba;
    struct oracle_place cap[6],
        area[6]; /* by cfg_type (VIRTIO 1.2, 4.1.4): capability, what it points at */
};
/* Gives addresses to the BARs of function 0:GUEST_SLOT.0 and turns it on, by the ports 0xcf8 and 0xcfc, as a firmware does.
 * q NULL: on our side. 0, or the number of what is missing. */
int guest_find(struct qtest *q, struct guest_function *ret_function);

/* Registers that both transports have, by offset and width; in one space. */
struct guest_register {
    uint16_t at;
    uint8_t len;
};
struct guest_registers {
    uint8_t space;
    struct guest_register status, device_select, select, features, queue, size, enable;
    uint16_t area[3]; /* descriptors, driver's, device's: low half, high half behind it */
};
/* The next step of a driver as it should be: status by status, features that fit, a queue with good rings; r->memory keeps where
 * it is (GUEST_*). Now and then a reset. */
void guest_drive(struct oracle_random *r, const struct guest_registers *regs);
enum { GUEST_STATUS = 0xff, GUEST_ENABLED = 0x100 };
void guest_put(struct oracle_random *r, uint8_t space, struct guest_register reg, uint32_t value);
void guest_get(struct oracle_random *r, uint8_t space, struct guest_register reg);

#endif
