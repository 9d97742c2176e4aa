/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A hostile back end behind a front end, and a driver that does not wait for it. Three bytes a step: what, and two for it. Whatever comes,
 * the loop comes to rest, and a reset by the driver ends in time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/vhost/frontend.h>
#include <vmm/vhost/objects.h>

#include "vhost_back_end.h"
#include "virtio_harness.h"

enum { STEP_BYTES = 3, STEPS_MAX = 200 };
#define SECOND 1000000000ULL

static struct vh h;
static struct fake_back_end back;
static struct vhost_front *front;
static struct gm_region *extra; /* comes and goes */
static struct vhost_objects *objects;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static int connect_back_end(void *ctx, const char *name, unsigned how)
{
    int pair[2];

    (void)ctx;
    (void)name;
    (void)how;
    if (back.channel) /* the front end has closed it and the fake has not seen that yet */
        fbe_die(&back);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return vm_fail(-ENOENT, "no socket");
    must(fbe_serve(&back, pair[1]) == 0);
    return pair[0];
}

static void say(struct vhost_channel *channel, uint8_t request, uint8_t more, uint32_t flags)
{
    struct vhost_message m = { .request = request, .flags = 1 | flags, .size = more % 64U };

    memset(m.payload.bytes, more, sizeof(m.payload.bytes));
    if (more & 64) {
        m.fds = 1;
        m.fd[0] = 0;
    }
    if (channel)
        (void)vhost_channel_send(channel, &m);
}

static void ask_address(uint8_t how, uint8_t page)
{
    struct vhost_message m = { .request = VHOST_USER_BACKEND_IOTLB_MSG,
                               .flags = 1 | (how & 64 ? VHOST_MESSAGE_NEED_REPLY : 0),
                               .size = sizeof(struct vhost_iotlb) };

    m.payload.iotlb = (struct vhost_iotlb){ .iova = (uint64_t)page << 13,
                                            .permissions = how & 3,
                                            .type = how >> 2 & 15 };
    if (back.asks)
        (void)vhost_channel_send(back.asks, &m);
}

/* Pieces of shared memory, and objects that it shares with itself. */
static void share(uint8_t how, uint8_t what)
{
    struct vhost_message m = { .flags = 1 | (how & 1 ? VHOST_MESSAGE_NEED_REPLY : 0) };

    m.request = VHOST_USER_BACKEND_SHARED_OBJECT_ADD + (how >> 1) % 5;
    if (m.request < VHOST_USER_BACKEND_SHMEM_MAP) {
        m.size = sizeof(struct vhost_uuid);
        m.payload.uuid.bytes[0] = what % 4;
    } else {
        m.size = sizeof(struct vhost_shmem_map);
        m.payload.shmem_map = (struct vhost_shmem_map){
            .id = what & 3,
            .shm_offset = (what >> 2 & 7) * 0x1000ULL,
            .len = what & 32 ? UINT64_MAX - 0xfff : (what >> 6) * 0x1000ULL,
            .flags = how >> 4 & 3,
        };
    }
    if (m.request == VHOST_USER_BACKEND_SHMEM_MAP) {
        m.fds = 1;
        m.fd[0] = back.object_fd;
    }
    (void)fbe_ask(&back, &m);
}

static void memory_step(bool add)
{
    struct gm_change change = { 0 };

    if (add)
        change = (struct gm_change){ .add = &extra, .add_count = 1 };
    else
        change = (struct gm_change){ .remove = &extra, .remove_count = 1 };
    (void)gm_space_change(h.guest.space, &change);
}

static void guest_step(uint8_t what, uint8_t a)
{
    switch (what) {
    case 0: (void)vh_set_status(&h, 0); break;
    case 1: (void)vh_start(&h, a & 1 ? VIRTIO_FEATURE_ACCESS_PLATFORM | 1 : 0); break;
    case 2:
        if (h.drv_made[a % 2])
            (void)vh_kick(&h, a % 2);
        break;
    case 3: vh_config_write(&h, a % 20, &a, 1); break;
    case 4: (void)vdev_quiesce(h.dev, NULL); break;
    default: (void)vdev_resume(h.dev); break;
    }
}

static void on_end(void *ctx, const struct vm_error *result)
{
    (void)ctx;
    must(!result->code || result->text[0]);
}

static void on_begin(void *ctx, const struct vm_error *result, int given_fd)
{
    on_end(ctx, result);
    vm_close(&given_fd);
}

static void host_step(uint8_t what, uint8_t a)
{
    uint64_t word = 0;

    vm_lock_acquire(&h.dev->lock);
    switch (what) {
    case 6: (void)vhost_front_log_start(front, (uint64_t)a << 24, on_end, NULL); break;
    case 7: vhost_front_log_stop(front); break;
    case 8: (void)vhost_front_log_take(front, a * 64ULL, &word, 1); break;
    case 9: (void)vhost_front_state_begin(front, a & 1, 0, on_begin, NULL); break;
    case 10: (void)vhost_front_state_check(front, on_end, NULL); break;
    case 11:
        if (a & 4)
            (void)vhost_front_rarp(front, (const uint8_t *)&word);
        else if (a & 2)
            (void)vhost_front_postcopy_listen(front);
        else if (a & 1)
            (void)vhost_front_postcopy_advise(front, on_begin, NULL);
        else
            (void)vhost_front_postcopy_end(front, on_end, NULL);
        break;
    default: (void)vhost_front_mtu(front, a); break;
    }
    vm_lock_release(&h.dev->lock);
}

static void answers_step(uint8_t what, uint8_t a)
{
    switch (what % 3) {
    case 0: back.state_answer = a | (what & 128 ? 0x100U : 0); break;
    case 1:
        back.state_fd = a & 1;
        back.table_lie = a & 2;
        back.no_userfault = a & 4;
        break;
    default: back.check_answer = a; break;
    }
}

static void step(const uint8_t *in)
{
    uint8_t a = in[1], b = in[2];

    switch (in[0] % 16) {
    case 0: say(back.channel, a, b, VHOST_MESSAGE_REPLY); break;
    case 1:
        say(back.channel, a, b, b & 128 ? 0 : VHOST_MESSAGE_REPLY | VHOST_MESSAGE_NEED_REPLY);
        break;
    case 2:
        if (a & 128)
            ask_address(a, b);
        else if (a & 64)
            share(a, b);
        else
            say(back.asks, a % 12, b, b & 128 ? VHOST_MESSAGE_NEED_REPLY : 0);
        break;
    case 3: back.silent = a; break;
    case 4: back.refuses = a; break;
    case 5: back.swaps = a; break;
    case 6:
        back.no_inflight_fd = a & 1;
        back.inflight_no_file = a & 2;
        break;
    case 7: fbe_die(&back); break;
    case 8: (void)vh_pass(&h, (uint64_t)a << (b & 31)); break;
    case 9: back.queues = a; break;
    case 10: back.features ^= 1ULL << (a & 63); break;
    case 11: back.protocol ^= 1ULL << (a & 31); break;
    case 12: back.base_answer = a | (uint32_t)b << 16; break;
    case 13:
        if (b & 128) {
            memory_step(a & 1);
            break;
        }
        vm_eventfd_signal(back.ring[a % 2].call >= 0 ? back.ring[a % 2].call : -1);
        break;
    case 14: back.config_bytes = a; break;
    case 15:
        if (a % 16 < 6)
            guest_step(a % 16, b);
        else if (a % 16 < 13)
            host_step(a % 16, b);
        else
            answers_step(a, b);
        break;
    }
}

static bool make(const uint8_t *in)
{
    static const struct vdev_class cls = { .name = "vhost-test", .kind = VDEV_VIRTIO };
    const struct vhost_front_setup setup = { .id = VIRTIO_ID_BLOCK,
                                             .queues = 2,
                                             .queues_min = 1,
                                             .queue_size = 64,
                                             .config_bytes = 16,
                                             .packed = true,
                                             .platform = in[0] & 8,
                                             .postcopy = in[0] & 64,
                                             .socket = "/socket",
                                             .fd = -1,
                                             .wait_ns = 3 * SECOND,
                                             .reconnect_ns = in[0] & 1 ? SECOND : UINT64_MAX };
    const struct vh_config config = { .transport = VH_PCI, .shared = true };

    const struct gm_backing backing = { .kind = GM_MEMFD };

    must(vh_open(&h, &config) == 0);
    must(gm_region_new(1ULL << 32, GM_PAGE_BYTES, &backing, &extra) == 0);
    h.open = connect_back_end;
    must(vhost_objects_new(&objects) == 0);
    h.context.machine->objects = objects;
    fbe_init(&back, &h.env);
    back.features = VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX | VQ_F_RING_PACKED |
                    VHOST_FEATURE_PROTOCOL | 1;
    back.protocol = in[1] | (uint64_t)in[2] << 8 | VHOST_PROTOCOL(CONFIG) |
                    (in[0] & 2 ? VHOST_PROTOCOL(DEVICE_STATE) : 0) |
                    (in[0] & 16 ? VHOST_PROTOCOL(SHMEM) | VHOST_PROTOCOL(SHARED_OBJECT) |
                                      VHOST_PROTOCOL(BACKEND_SEND_FD)
                                : 0);
    back.shmem[0] = back.shmem[2] = 0x8000;
    back.shmem_count = in[0] & 32 ? 2 + (in[1] & 7) : 2;
    back.object_fd = memfd_create("shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    must(back.object_fd >= 0 && !ftruncate(back.object_fd, 0x4000) &&
         !fcntl(back.object_fd, F_ADD_SEALS, F_SEAL_SHRINK));
    back.features |= in[0] & 4 ? VHOST_FEATURE_LOG_ALL : 0;
    back.features |= in[0] & 8 ? VIRTIO_FEATURE_ACCESS_PLATFORM : 0;
    back.config_bytes = 16;
    if (vhost_front_new(&cls, &h.context, &setup, NULL, &front))
        return false;
    must(vh_plug(&h, vhost_front_dev(front)) == 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < STEP_BYTES)
        return 0;
    if (make(data)) {
        for (size_t at = STEP_BYTES; at + STEP_BYTES <= size && at < STEPS_MAX * STEP_BYTES;
             at += STEP_BYTES) {
            step(data + at);
            must(vh_idle(&h) == 0);
        }
        (void)vdev_resume(h.dev);
        must(vh_reset(&h, 20 * SECOND) == 0);
        vh_destroy(&h);
    }
    fbe_die(&back);
    vm_close(&back.object_fd);
    vh_close(&h);
    vhost_objects_free(objects);
    gm_region_unref(extra);
    return 0;
}
