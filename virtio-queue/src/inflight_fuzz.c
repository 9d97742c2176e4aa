/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The in-flight log in the hands of a fuzzer: what the ring fuzzers do, while back ends die and come
 * back and somebody writes into the region. First byte: bit 7 for a packed ring.
 */
#include <errno.h>

#include "ring_fuzz.h"

/* What the successor takes up it takes up in full, or says why not and begins anew. */
static void die(struct fuzz *f)
{
    int rc;

    fuzz_drop(f);
    vq_pool_free(f->pool);
    vq_exit(&f->q);
    fuzz_check(!vq_init(&f->q, &f->view, FUZZ_SIZE_MAX));
    fuzz_check(!vq_pool_new(&f->q, 8, &f->pool));
    fuzz_check(!vq_set_inflight(&f->q, f->region, FUZZ_REGION));
    f->q.size = f->drv.size;
    f->q.desc = f->drv.desc;
    f->q.driver = f->drv.driver;
    f->q.device = f->drv.device;
    rc = vq_start(&f->q, f->features);
    fuzz_check(rc == 0 || rc == -EINVAL || rc == -EPROTO);
    fuzz_check(f->q.started == !rc && vq_replays(&f->q) <= (rc ? 0U : f->q.size));
    if (!rc)
        return;
    vq_reset(&f->q);
    fuzz_check(!fake_driver_reset(&f->drv));
    fuzz_start(f);
    fuzz_check(f->q.started && !vq_replays(&f->q));
}

static void poke(struct fuzz *f)
{
    uint32_t at = fuzz_get(f, 2) % FUZZ_REGION, how = fuzz_get(f, 1);

    f->region[at] = (uint8_t)fuzz_get(f, 1);
    if (how % 8 == 0)
        memset(f->region, 0, 64);
    else if (how % 8 == 1)
        memset(f->region + at, (int)(how / 8), FUZZ_REGION - at);
}

static void step(struct fuzz *f)
{
    switch (fuzz_get(f, 1) % 8) {
    case 0: die(f); break;
    case 1: poke(f); break;
    case 2:
        if (f->have_chain)
            vq_mark_done(&f->q, &f->chain);
        else if (f->outs)
            vq_mark_done(&f->q, &f->out[f->outs - 1]->chain);
        break;
    default: fuzz_step(f); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _Alignas(8) uint8_t region[FUZZ_REGION] = { 0 };

    fuzz_run(data, size, size && data[0] & 0x80 ? VQ_F_RING_PACKED : 0, region, step);
    return 0;
}
