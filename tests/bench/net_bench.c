/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What virtio-net costs per frame, without its back end: ns and, where the processor counts them for us, instructions. The ring is
 * full before each round and emptied after it; frames have 64 bytes of which the back end writes the first 54.
 *
 *     net_bench [rounds]
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "virtio_net_test.h"

enum { BYTES = 64, HEADERS = 54, SIZE = 256 };

/* In a round there is always a frame, and always room for one. */
static bool on;
static uint8_t headers[HEADERS] = { 0x52, 0x54, 0,    0x12, 0x34, 0x56, 2,   0,   0,   0, 0,  1,
                                    8,    0,    0x45, 0,    0,    40,   0,   0,   0,   0, 64, 6,
                                    0,    0,    66,   9,    149,  187,  161, 142, 100, 80 };

static ssize_t give(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    (void)net;
    (void)queue;
    (void)count;
    if (!on)
        return -EAGAIN;
    memset(iov[0].iov_base, 0, VNET_HEADER);
    memcpy(iov[1].iov_len ? iov[1].iov_base : iov[2].iov_base, headers, HEADERS);
    headers[37] = (uint8_t)(headers[37] + 1U); /* another port, another queue */
    return BYTES;
}

static int take(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    (void)net;
    (void)queue;
    (void)iov;
    (void)count;
    return 0;
}

static int any(struct vnet *net, unsigned value)
{
    (void)net;
    (void)value;
    return 0;
}

static void leave(struct vnet *net)
{
    (void)net;
}

static const struct vnet_ops back_end = {
    .receive = give, .send = take, .set_offloads = any, .set_queues = any, .close = leave
};

static const struct kind {
    const char *name;
    uint16_t queue;
    bool packed, steer;
    uint64_t without;
} kinds[] = {
    { "receive, split", 0, false, false, VIRTIO_NET_F_HASH_REPORT },
    { "receive, packed", 0, true, false, VIRTIO_NET_F_HASH_REPORT },
    { "receive, packed, steered to two queues", 0, true, true, 0 },
    { "send, split", 1, false, false, VIRTIO_NET_F_HASH_REPORT },
    { "send, packed", 1, true, false, VIRTIO_NET_F_HASH_REPORT },
};

struct sum {
    uint64_t ns, instructions, frames;
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

static uint64_t frames(const struct wire *w)
{
    return w->dev->count.rx_frames + w->dev->count.tx_frames;
}

/* As the loop does; the driver offers nothing meanwhile. */
__attribute__((noinline)) static int bench_round(struct wire *w, uint16_t queue)
{
    struct virtio_dev *dev = &w->dev->dev;
    int rc;

    on = true;
    vm_lock_acquire(&dev->dev.lock);
    rc = dev->ops->kick(dev, queue);
    vm_lock_release(&dev->dev.lock);
    on = false;
    return rc;
}

static void fill(struct vh *h, uint16_t queue, bool write)
{
    struct fake_buf b = { ROOM, write ? 2048U : sizeof(struct virtio_net_header_hash) + BYTES,
                          write };

    while (fake_driver_offer(&h->drv[queue], &b, 1) >= 0)
        ;
}

static void empty(struct vh *h)
{
    for (uint16_t q = 0; q < 4; q++) {
        uint32_t len;
        uint16_t id;

        while (fake_driver_collect(&h->drv[q], &id, &len) > 0)
            ;
    }
}

static int steer(struct vh *h)
{
    static const uint8_t key[] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2 };
    uint8_t *at = h->guest.host + PACKET;
    struct fake_buf b[] = { { PACKET, 2 + 15 + sizeof(key), false }, { PACKET + 4096, 1, true } };

    memset(at, 0, 64);
    memcpy(at, (uint8_t[]){ 4, 1, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 2, 0, sizeof(key) }, 17);
    memcpy(at + 17, key, sizeof(key));
    return vh_request(h, 4, b, 2) == 1 && !at[4096] ? 0 : -1;
}

static int open_device(struct vh *h, struct wire *w, const struct kind *k)
{
    const struct vh_config way = { .transport = VH_PCI, .packed = k->packed };
    int rc = vh_open(h, &way);

    wire_init(w);
    w->net.ops = &back_end;
    if (!rc)
        rc = wire_plug(w, h, "mac=52:54:00:12:34:56,num_queues=4,rss=on,hash=on");
    if (!rc)
        rc = vh_start(h, vh_offered(h) & ~k->without);
    return rc || !k->steer ? rc : steer(h);
}

static int measure(const struct kind *k, int fd, long rounds, struct sum *ret)
{
    static struct vh h;
    static struct wire w;
    int rc = open_device(&h, &w, k);

    *ret = (struct sum){ 0 };
    for (long i = 0; i < rounds && !rc; i++) {
        uint64_t before = frames(&w), begin;

        fill(&h, k->queue, k->queue == 0);
        if (k->steer)
            fill(&h, 2, true);
        ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
        begin = now_ns();
        rc = bench_round(&w, k->queue);
        ret->ns += now_ns() - begin;
        ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
        ret->frames += frames(&w) - before;
        empty(&h);
    }
    vh_close(&h);
    return rc;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 4000;
    long only = argc > 2 ? strtol(argv[2], NULL, 10) : -1;

    printf("%-48s %10s %14s\n", "one frame of 64 bytes", "ns", "instructions");
    for (size_t i = 0; i < VM_ARRAY_SIZE(kinds); i++) {
        struct sum sum;
        int fd = count_instructions();

        if (only >= 0 && (size_t)only != i)
            continue;
        if (measure(&kinds[i], fd, rounds, &sum) || !sum.frames) {
            fprintf(stderr, "net_bench: %s failed\n", kinds[i].name);
            return 1;
        }
        printf("%-48s %10.1f ", kinds[i].name, (double)sum.ns / (double)sum.frames);
        if (fd >= 0 && read(fd, &sum.instructions, sizeof(sum.instructions)) > 0)
            printf("%14.1f\n", (double)sum.instructions / (double)sum.frames);
        else
            printf("%14s\n", "-");
        if (fd >= 0)
            close(fd);
    }
    return 0;
}
