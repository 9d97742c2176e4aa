/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest that does anything to the UART. Two bytes are a step: what, and a value. Now and then the state is saved and loaded,
 * which must change nothing; the input's rest may also be a state of its own.
 */
#include "serial_test.h"

static struct plat p;

static void must(bool ok)
{
    if (!ok)
        __builtin_trap();
}

static void step(uint8_t what, uint8_t value)
{
    uint16_t port = (uint16_t)(PORT + (what & 7));
    unsigned len = 1U << (what >> 3 & 3);

    switch (what >> 5) {
    case 0:
    case 1: plat_in(&p, port, len); break;
    case 6: must(plat_round_trip(&p) == 0); break;
    case 7:
        if (value & 1)
            must(vdev_reset(p.dev, NULL) == 0);
        break;
    default: plat_out(&p, port, len, value * 0x0101010101010101ULL); break;
    }
    must((plat_in(&p, LSR, 1) & 0x60) == 0x60);
    must(p.pin[0].rises - p.pin[0].falls <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 1;

    if (!size || serial_plat(&p, VCHAR_NULL))
        return 0;
    if (data[0] & 1)
        (void)vdev_load(p.dev, data + 1, size - 1);
    for (; at + 1 < size; at += 2)
        step(data[at], data[at + 1]);
    must(plat_round_trip(&p) == 0);
    plat_close(&p);
    return 0;
}
