/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest with three ports that says about them whatever it likes: the input is a list of messages, of bytes in any queue, of time,
 * resets and saves. A driver that keeps to the rules of its rings gets every chain back in its time and is never told to reset the
 * device, whatever stands in the chains; and each state that the device saves it loads.
 */
#include <stdlib.h>
#include <string.h>

#include "virtio_console_private.h"
#include "virtio_harness.h"

extern const struct vdev_class virtio_console_class;

enum { STEPS_MAX = 512, AT = 0x5f0000, BYTES_MAX = 64, QUEUES = 8 };

#define MUST(condition)       \
    do {                      \
        if (!(condition))     \
            __builtin_trap(); \
    } while (0)

struct fuzz {
    const uint8_t *data;
    size_t left;
    struct vh *h;
};

static uint64_t take(struct fuzz *f, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && f->left; i++, f->left--)
        value |= (uint64_t)*f->data++ << 8 * i;
    return value;
}

static void collect(struct fuzz *f, uint16_t n)
{
    uint32_t len;
    uint16_t id;
    int rc;

    while ((rc = fake_driver_collect(&f->h->drv[n], &id, &len)) > 0)
        ;
    MUST(!rc);
}

/* Mostly a message that is one, about a port that is there. */
static void send_message(struct fuzz *f)
{
    struct fake_buf b = { AT, 8, false };
    uint8_t bytes[8], what = (uint8_t)take(f, 1);

    memset(bytes, 0, sizeof(bytes));
    bytes[0] = what & 3;
    bytes[4] = what >> 2 & 7;
    bytes[6] = !(what >> 5 & 1);
    if (what >> 6 == 3)
        for (unsigned i = 0; i < 8; i++)
            bytes[i] = (uint8_t)take(f, 1);
    if (what >> 6 == 2)
        b.len = (uint32_t)take(f, 1) % 8;
    memcpy(f->h->guest.host + AT, bytes, sizeof(bytes));
    if (fake_driver_offer(&f->h->drv[CONSOLE_CONTROL + 1], &b, 1) >= 0)
        MUST(!vh_serve(f->h, CONSOLE_CONTROL + 1));
    collect(f, CONSOLE_CONTROL + 1);
}

static void offer(struct fuzz *f)
{
    uint16_t n = (uint16_t)(take(f, 1) % QUEUES);
    struct fake_buf b = { AT + 4096, (uint32_t)take(f, 1) % BYTES_MAX, n % 2 == CONSOLE_RECEIVE };

    if (fake_driver_offer(&f->h->drv[n], &b, 1) >= 0)
        MUST(!vh_serve(f->h, n));
    collect(f, n);
}

static void save_and_load(struct fuzz *f)
{
    struct vm_buffer state = { 0 };

    MUST(!vh_quiesce(f->h) && !vh_save(f->h, &state));
    MUST(!vh_load(f->h, state.data, state.len));
    MUST(!vdev_resume(f->h->dev));
    MUST(!vh_idle(f->h));
    vm_buffer_free(&state);
}

static void step(struct fuzz *f)
{
    switch (take(f, 1) % 8) {
    case 0: offer(f); break;
    case 1: MUST(!vh_pass(f->h, take(f, 3) * 1000)); break;
    case 2: save_and_load(f); break;
    case 3:
        if (take(f, 1) % 8 == 0) {
            MUST(!vh_reset(f->h, 0));
            MUST(!vh_start(f->h, take(f, 1) % 4 ? 0 : CONSOLE_F_SIZE));
        }
        break;
    default: send_message(f);
    }
    MUST(!(vh_status(f->h) & VIRTIO_NEEDS_RESET));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vh h;
    struct fuzz f = { data, size, &h };
    const struct vh_config way = { .transport = take(&f, 1) & 1 ? VH_PCI : VH_MMIO_BUS,
                                   .packed = take(&f, 1) & 1 };

    MUST(!vh_open(&h, &way));
    MUST(!vh_create(&h, &virtio_console_class,
                    "mode=null,cols=80,ports=[[name=a,mode=null],[console=on,mode=null]]"));
    MUST(!vh_start(&h, 0));
    for (unsigned i = 0; i < STEPS_MAX && f.left; i++)
        step(&f);
    vh_close(&h);
    return 0;
}
