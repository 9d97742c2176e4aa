/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest that does anything to the PL011. Three bytes are a step: what, which register, a value. Now and then the state is
 * saved and loaded, which must change nothing; the input's rest may also be a state of its own.
 */
#include "pl011_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP_BYTES = 3 };

static struct plat p;

static void must(bool ok)
{
    if (!ok)
        __builtin_trap();
}

static void step(uint8_t what, uint8_t where, uint8_t value)
{
    uint64_t reg = BASE + (what & 0x10 ? 0xf00 : 0) + where;
    unsigned len = 1U << (what >> 2 & 3);

    switch (what & 3) {
    case 0: plat_read(&p, reg, len); break;
    case 1: plat_write(&p, reg & ~3ULL, 4, value * 0x101U); break;
    case 2: plat_write(&p, reg, len, value * 0x0101010101010101ULL); break;
    default:
        if (value & 1)
            must(vdev_reset(p.dev, NULL) == 0);
        else
            must(plat_round_trip(&p) == 0);
        break;
    }
    must((plat_read(&p, FR, 4) & 0xa8) == 0x80); /* the transmitter is empty */
    must(p.pin[0].level == (plat_read(&p, MIS, 4) != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size || pl011_plat(&p, VCHAR_NULL))
        return 0;
    if (data[0] & 1)
        (void)vdev_load(p.dev, data + 1, size - 1);
    for (size_t at = 1; at + STEP_BYTES <= size; at += STEP_BYTES)
        step(data[at], data[at + 1], data[at + 2]);
    must(plat_round_trip(&p) == 0);
    plat_close(&p);
    return 0;
}
