/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Micro-benchmark of guest-memory views: prints nanoseconds and, where perf_event_open(2) is
 * allowed, instructions per operation. Usage: memory_bench [rounds].
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <vmm/vm-memory/view.h>

enum { REGION_BYTES = 4 << 20, WINDOW = 1 << 16 };

struct bench {
    struct gm_space *space;
    struct gm_view view;
    struct gm_dirty *dirty;
    uint64_t rounds, sum;
    int counter; /* instructions; -1 where the host does not let us */
};

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int open_counter(void)
{
    struct perf_event_attr attr = { .type = PERF_TYPE_HARDWARE,
                                    .size = sizeof(attr),
                                    .config = PERF_COUNT_HW_INSTRUCTIONS,
                                    .exclude_kernel = 1,
                                    .exclude_hv = 1 };

    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0UL);
}

static uint64_t read_counter(const struct bench *b)
{
    uint64_t v = 0;

    if (b->counter >= 0 && read(b->counter, &v, sizeof(v)) != (ssize_t)sizeof(v))
        v = 0;
    return v;
}

/* An address of the window that the compiler cannot foresee, 64 bytes apart. */
static gpa_t walk(uint64_t i)
{
    return (i * 64) % WINDOW;
}

static void empty_loop(struct bench *b)
{
    for (uint64_t i = 0; i < b->rounds; i++) {
        uint64_t v = walk(i);

        __asm__ volatile("" : "+r"(v) : : "memory");
        b->sum += v;
    }
}

static void read_8(struct bench *b)
{
    for (uint64_t i = 0; i < b->rounds; i++) {
        uint64_t v = 0;

        if (gm_read(&b->view, walk(i), &v, sizeof(v)))
            exit(1);
        __asm__ volatile("" : "+r"(v) : : "memory");
        b->sum += v;
    }
}

static void write_8(struct bench *b)
{
    for (uint64_t i = 0; i < b->rounds; i++) {
        if (gm_write(&b->view, walk(i), &i, sizeof(i)))
            exit(1);
        __asm__ volatile("" : : : "memory");
    }
}

static void load_16(struct bench *b)
{
    for (uint64_t i = 0; i < b->rounds; i++) {
        uint16_t v = 0;

        if (gm_load16(&b->view, walk(i), &v))
            exit(1);
        b->sum += v;
    }
}

static void store_16(struct bench *b)
{
    for (uint64_t i = 0; i < b->rounds; i++) {
        if (gm_store16(&b->view, walk(i), (uint16_t)(i & 0xffff)))
            exit(1);
    }
}

static void host_4096(struct bench *b)
{
    for (uint64_t i = 0; i < b->rounds; i++) {
        void *host;

        if (gm_host(&b->view, walk(i), 4096, GM_READ, &host))
            exit(1);
        b->sum += (uintptr_t)host;
    }
}

static void iov_4096(struct bench *b)
{
    for (uint64_t i = 0; i < b->rounds; i++) {
        struct iovec iov[4];
        int count = 0;

        if (gm_iov(&b->view, walk(i), 4096, GM_WRITE, iov, 4, &count))
            exit(1);
        b->sum += iov[0].iov_len;
    }
}

/* Turns from one region to the other: each access searches. */
static void read_8_miss(struct bench *b)
{
    for (uint64_t i = 0; i < b->rounds; i++) {
        uint64_t v = 0;

        if (gm_read(&b->view, walk(i) + (i & 1 ? 2ULL * REGION_BYTES : 0), &v, sizeof(v)))
            exit(1);
        b->sum += v;
    }
}

static void write_8_tracked(struct bench *b)
{
    gm_view_set_dirty(&b->view, b->dirty);
    write_8(b);
    gm_view_set_dirty(&b->view, NULL);
}

static void read_4096(struct bench *b)
{
    uint8_t buf[4096];

    for (uint64_t i = 0; i < b->rounds; i++) {
        if (gm_read(&b->view, walk(i), buf, sizeof(buf)))
            exit(1);
        __asm__ volatile("" : : "r"(buf) : "memory");
    }
}

static void run(struct bench *b, const char *name, void (*fn)(struct bench *b))
{
    uint64_t before, count;
    double start;

    fn(b); /* warm */
    before = read_counter(b);
    start = now_ns();
    fn(b);
    start = now_ns() - start;
    count = read_counter(b) - before;
    printf("%-28s %8.2f ns/op", name, start / (double)b->rounds);
    if (count)
        printf(" %8.1f instructions/op", (double)count / (double)b->rounds);
    printf("\n");
}

/* Two regions of RAM with a hole between them. */
static int set_up(struct bench *b)
{
    struct gm_region *regions[2] = { 0 };
    struct gm_backing backing = { .kind = GM_ANONYMOUS, .prefault = true };
    struct gm_change change = { .add = regions, .add_count = 2 };

    if (gm_space_new(NULL, &b->space) || gm_dirty_new(4ULL * REGION_BYTES, false, &b->dirty))
        return -1;
    for (unsigned i = 0; i < 2; i++) {
        if (gm_region_new((gpa_t)i * 2 * REGION_BYTES, REGION_BYTES, &backing, &regions[i]))
            return -1;
    }
    if (gm_space_change(b->space, &change))
        return -1;
    gm_region_unref(regions[0]);
    gm_region_unref(regions[1]);
    gm_view_init(&b->view, b->space, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    struct bench b = { .rounds = 10000000, .counter = open_counter() };

    if (argc > 1)
        b.rounds = strtoull(argv[1], NULL, 10);
    if (!b.rounds || set_up(&b)) {
        fprintf(stderr, "memory_bench: could not be set up\n");
        return 1;
    }
    run(&b, "empty loop", empty_loop);
    run(&b, "gm_read 8, hit", read_8);
    run(&b, "gm_write 8, hit", write_8);
    run(&b, "gm_write 8, tracked", write_8_tracked);
    run(&b, "gm_read 8, other region", read_8_miss);
    run(&b, "gm_load16", load_16);
    run(&b, "gm_store16", store_16);
    run(&b, "gm_host 4096", host_4096);
    run(&b, "gm_iov 4096", iov_4096);
    run(&b, "gm_read 4096", read_4096);
    gm_view_exit(&b.view);
    gm_space_free(b.space);
    gm_dirty_free(b.dirty);
    if (b.counter >= 0)
        close(b.counter);
    return b.sum == 1; /* never; keeps the sum alive */
}
