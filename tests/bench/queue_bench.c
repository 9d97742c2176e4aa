/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a queue costs the device: ns and, where the processor counts them for us, instructions per
 * chain. Only the device's half is measured: the ring is full before and emptied by the driver
 * after each round.
 *
 *     queue_bench [rounds]
 *     valgrind --tool=callgrind --toggle-collect='bench_*' queue_bench 100     (chains: 100 * 256
 * per function)
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <vmm/virtio-queue/inflight.h>

#include "fake_queue.h"

enum { SIZE = 256, RAM = 8 << 20, BUF = 4 << 20, BUFS_MAX = 3 };

struct kind {
    const char *name;
    uint64_t features;
    uint32_t bufs;
    unsigned how;
};

enum { INDIRECT = 1, POOL = 2, COPY = 4, LOG = 8 };
enum { SPLIT = 0 };
#define PACKED VQ_F_RING_PACKED

static const struct kind kinds[] = {
    { "split, direct, 1 buffer", SPLIT, 1, 0 },
    { "split, direct, 1 buffer, event index", VQ_F_EVENT_IDX, 1, 0 },
    { "split, direct, 3 buffers", SPLIT, 3, 0 },
    { "split, indirect, 3 buffers", VQ_F_INDIRECT, 3, INDIRECT },
    { "split, direct, 3 buffers, pull 16 and push 1", SPLIT, 3, COPY },
    { "split, indirect, 3 buffers, request pool", VQ_F_INDIRECT, 3, INDIRECT | POOL },
    { "packed, direct, 1 buffer", PACKED, 1, 0 },
    { "packed, direct, 1 buffer, event index", PACKED | VQ_F_EVENT_IDX, 1, 0 },
    { "packed, direct, 3 buffers", PACKED, 3, 0 },
    { "packed, indirect, 3 buffers", PACKED | VQ_F_INDIRECT, 3, INDIRECT },
    { "packed, indirect, 3 buffers, request pool", PACKED | VQ_F_INDIRECT, 3, INDIRECT | POOL },
    { "split, direct, 1 buffer, in-flight log", SPLIT, 1, LOG },
    { "split, indirect, 3 buffers, in-flight log", VQ_F_INDIRECT, 3, INDIRECT | LOG },
    { "packed, direct, 1 buffer, in-flight log", PACKED, 1, LOG },
    { "packed, indirect, 3 buffers, in-flight log", PACKED | VQ_F_INDIRECT, 3, INDIRECT | LOG },
};

struct sum {
    uint64_t ns, instructions, chains;
};

static int count_instructions(void)
{
    struct perf_event_attr attr = { .type = PERF_TYPE_HARDWARE,
                                    .size = sizeof(attr),
                                    .config = PERF_COUNT_HW_INSTRUCTIONS,
                                    .disabled = 1,
                                    .exclude_kernel = 1,
                                    .exclude_hv = 1 };

    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

__attribute__((noinline)) static uint64_t bench_chains(struct vq *q)
{
    struct vq_chain c;
    uint64_t n = 0;

    for (; vq_next(q, &c) > 0; n++)
        vq_done(q, &c);
    return n;
}

__attribute__((noinline)) static uint64_t bench_copies(struct vq *q)
{
    struct vq_chain c;
    uint8_t head[16];
    uint64_t n = 0;

    for (; vq_next(q, &c) > 0; n++) {
        vq_pull(q, &c, head, sizeof(head));
        vq_push(q, &c, head, 1);
        vq_done(q, &c);
    }
    return n;
}

__attribute__((noinline)) static uint64_t bench_requests(struct vq *q, struct vq_pool *pool)
{
    struct vq_req *req;
    uint64_t n = 0;

    for (; vq_next_req(q, pool, &req) > 0; n++)
        vq_req_done(pool, req);
    return n;
}

static uint64_t serve(struct fake_queue *fq, struct vq_pool *pool, const struct kind *k)
{
    if (k->how & POOL)
        return bench_requests(&fq->q, pool);
    return (k->how & COPY) ? bench_copies(&fq->q) : bench_chains(&fq->q);
}

static int fill(struct fake_queue *fq, const struct kind *k)
{
    static const struct fake_buf buf[BUFS_MAX] = { { BUF, 16, false },
                                                   { BUF + 4096, 4096, true },
                                                   { BUF + 64, 1, true } };
    int id;

    do
        id = (k->how & INDIRECT) ? fake_driver_offer_indirect(&fq->drv, buf, k->bufs)
                                 : fake_driver_offer(&fq->drv, buf, k->bufs);
    while (id >= 0);
    return id == -28 /* ENOSPC: full */ ? 0 : id;
}

static int give_log(struct vq *q)
{
    static _Alignas(64) uint8_t region[SIZE * 32 + 64];
    int rc;

    memset(region, 0, sizeof(region));
    vq_stop(q);
    rc = vq_set_inflight(q, region, sizeof(region));
    return rc ? rc : vq_start(q, q->features);
}

static int measure(const struct kind *k, int fd, long rounds, struct sum *ret)
{
    struct vq_pool *pool = NULL;
    struct fake_queue fq;
    uint64_t begin;
    uint32_t len;
    uint16_t id;
    int rc;

    *ret = (struct sum){ 0 };
    rc = fake_queue_init(&fq, SIZE, k->features, RAM);
    if (rc)
        return rc;
    if (k->how & LOG)
        rc = give_log(&fq.q);
    if (!rc)
        rc = vq_pool_new(&fq.q, 64, &pool);
    for (long i = 0; i < rounds && !rc; i++) {
        rc = fill(&fq, k);
        ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
        begin = now_ns();
        ret->chains += serve(&fq, pool, k);
        ret->ns += now_ns() - begin;
        ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
        while (fake_driver_collect(&fq.drv, &id, &len) > 0)
            ;
        if (fq.q.broken || fq.drv.complaint)
            rc = -1;
    }
    vq_pool_free(pool);
    fake_queue_exit(&fq);
    return rc;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 4000;
    long only = argc > 2 ? strtol(argv[2], NULL, 10) : -1;
    struct sum sum;
    int fd;

    printf("%-48s %10s %14s\n", "one chain: next and done", "ns", "instructions");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (only >= 0 && (size_t)only != i)
            continue;
        fd = count_instructions();
        if (measure(&kinds[i], fd, rounds, &sum) || !sum.chains) {
            fprintf(stderr, "queue_bench: %s failed\n", kinds[i].name);
            return 1;
        }
        printf("%-48s %10.1f ", kinds[i].name, (double)sum.ns / (double)sum.chains);
        if (fd >= 0 && read(fd, &sum.instructions, sizeof(sum.instructions)) > 0)
            printf("%14.1f\n", (double)sum.instructions / (double)sum.chains);
        else
            printf("%14s\n", "-");
        if (fd >= 0)
            close(fd);
    }
    return 0;
}
