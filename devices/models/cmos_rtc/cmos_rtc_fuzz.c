/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest at the clock's registers, and a host whose clock jumps. Input: four bytes per step: what, where, value, time.
 * What the device saves it must load again, into the same bytes.
 */
#include "platform_harness.h"

extern const struct vdev_class cmos_rtc_class;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP_BYTES = 4, STEPS_MAX = 2000 };

static void check_state(struct plat *p)
{
    struct vm_buffer first = plat_save(p), second;

    if (vdev_load(p->dev, first.data, first.len))
        abort();
    second = plat_save(p);
    if (first.len != second.len || memcmp(first.data, second.data, first.len))
        abort();
    vm_buffer_free(&first);
    vm_buffer_free(&second);
}

static void step(struct plat *p, const uint8_t *in)
{
    switch (in[0] & 7) {
    case 0: plat_in(p, 0x71, 1); break;
    case 1: plat_out(p, (uint16_t)(0x70 + (in[1] & 1)), in[1] >> 1 & 7, in[2]); break;
    case 2: plat_pass(p, (uint64_t)in[2] << (in[3] & 31)); break;
    case 3: p->wall_ns += (uint64_t)in[2] << (in[3] & 31); break;
    case 4: p->wall_ns -= p->wall_ns / 256 * in[2] / 64; break;
    case 5: check_state(p); break;
    default: /* mostly: a register */
        plat_out(p, 0x70, 1, in[1]);
        plat_out(p, 0x71, 1, in[2]);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plat p;

    if (plat_open(&p))
        return 0;
    p.wall_ns = 1700000000000000000ULL;
    p.resource[0] = (struct vdev_resource){ VDEV_RES_PIO, 0x70, 2 };
    if (plat_create(&p, &cmos_rtc_class))
        abort();
    for (size_t i = 0; i + STEP_BYTES <= size && i < STEP_BYTES * STEPS_MAX; i += STEP_BYTES)
        step(&p, data + i);
    check_state(&p);
    plat_close(&p);
    return 0;
}
