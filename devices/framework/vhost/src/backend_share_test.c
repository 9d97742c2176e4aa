/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device that shares memory and objects, behind a back end: what becomes messages, and what of their answers. */
#include "backend_test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/virtio/object.h>
#include <vmm/virtio/shm.h>

enum { SIZE = 0x10000 };
#define ABLE \
    (VHOST_PROTOCOL(SHMEM) | VHOST_PROTOCOL(BACKEND_SEND_FD) | VHOST_PROTOCOL(SHARED_OBJECT))

static struct {
    unsigned done;
    int code, fd, file;
    uint8_t asked_for[16];
} seen;

static const uint8_t name[16] = "object";

static void shm_done(struct virtio_dev *dev, int code)
{
    (void)dev;
    seen.done++;
    seen.code = code;
}

static void object_done(struct virtio_dev *dev, int code, int fd)
{
    shm_done(dev, code);
    vm_close(&seen.fd);
    seen.fd = fd;
}

static int object_get(struct virtio_dev *dev, const uint8_t asked[16])
{
    (void)dev;
    memcpy(seen.asked_for, asked, 16);
    return memcmp(asked, name, 16) ? -ENOENT : seen.file;
}

/* The lab with regions and objects; the front end takes all of the protocol features in wanted. */
static void share(uint64_t wanted)
{
    static const uint64_t size[] = { SIZE, 0, 2 * SIZE };
    static struct virtio_ops ops;

    lab_behind();
    memset(&seen, 0, sizeof(seen));
    seen.fd = -1;
    seen.file = memfd_create("shared", MFD_CLOEXEC);
    ops = lab_ops;
    ops.shm_done = shm_done;
    ops.object_done = object_done;
    ops.object_get = object_get;
    lab->dev.ops = &ops;
    cr_assert_eq(virtio_shm_offer(&lab->dev, size, 3), 0);
    hello(USUAL | wanted);
}

static void open_able(void)
{
    share(ABLE);
}

static void quit(void)
{
    vm_close(&seen.fd);
    vm_close(&seen.file);
    close_lab();
}

TestSuite(backend_share, .init = open_able, .fini = quit);

static int map(uint8_t id, uint64_t at, uint64_t bytes)
{
    const struct virtio_shm_piece p = { id, true, at, bytes, 0x1000 };
    int rc;

    virtio_enter(&lab->dev);
    rc = virtio_shm_map(&lab->dev, &p, seen.file);
    virtio_leave(&lab->dev);
    return rc;
}

static int object(enum virtio_object_ask what)
{
    int rc;

    virtio_enter(&lab->dev);
    rc = virtio_object(&lab->dev, what, name);
    virtio_leave(&lab->dev);
    return rc;
}

/* The back end alone: the harness would answer what it asks. */
static void run(void)
{
    while (vm_loop_step(h.env.loop, 0) > 0)
        ;
}

/* The device's request, as the front end gets it. */
static int next(struct vhost_message *ret_request)
{
    run();
    return ffe_next_request(front(), ret_request);
}

static void answer(const struct vhost_message *request, uint64_t value, int fd)
{
    cr_assert_eq(ffe_answer(front(), request, value, fd), 0);
    run();
}

Test(backend_share, the_front_end_is_told_of_the_regions)
{
    struct vhost_message m = ffe_message(VHOST_USER_GET_SHMEM_CONFIG, NULL, 0), reply;

    cr_assert_eq(ffe_ask(front(), &m, &reply), 0);

    cr_assert_eq(reply.size, sizeof(struct vhost_shmem_config));
    cr_assert_eq(reply.payload.shmem_config.count, 2);
    cr_assert_eq(reply.payload.shmem_config.size[0], SIZE);
    cr_assert_eq(reply.payload.shmem_config.size[1], 0);
    cr_assert_eq(reply.payload.shmem_config.size[2], 2 * SIZE);
}

Test(backend_shareless, nothing_of_it_is_offered, .init = lab_behind, .fini = close_lab)
{
    hello(USUAL | ABLE);

    cr_assert_not(front()->protocol_offered & ABLE);
}

Test(backend_share, a_mapping_is_a_message_and_its_answer)
{
    struct vhost_message m;

    cr_assert_eq(map(2, 0x3000, 0x2000), -EINPROGRESS);
    cr_assert_eq(next(&m), 0);
    cr_assert_eq(m.request, VHOST_USER_BACKEND_SHMEM_MAP);
    cr_assert_eq(m.fds, 1);
    cr_assert_eq(m.payload.shmem_map.id, 2);
    cr_assert_eq(m.payload.shmem_map.shm_offset, 0x3000);
    cr_assert_eq(m.payload.shmem_map.len, 0x2000);
    cr_assert_eq(m.payload.shmem_map.fd_offset, 0x1000);
    cr_assert_eq(m.payload.shmem_map.flags, 1);
    vhost_message_drop_fds(&m);
    cr_assert_eq(seen.done, 0);

    answer(&m, 0, -1);

    cr_assert_eq(seen.done, 1);
    cr_assert_eq(seen.code, 0);
}

Test(backend_share, a_refusal_reaches_the_device)
{
    struct vhost_message m;

    cr_assert_eq(map(0, 0, 0x1000), -EINPROGRESS);
    cr_assert_eq(next(&m), 0);
    vhost_message_drop_fds(&m);

    answer(&m, 1, -1);

    cr_assert_eq(seen.code, -EREMOTEIO);
    cr_assert_eq(map(0, 0, 0x1000), -EINPROGRESS, "it may try again");
}

Test(backend_share, one_question_at_a_time)
{
    struct vhost_message m;

    cr_assert_eq(map(0, 0, 0x1000), -EINPROGRESS);
    cr_assert_eq(map(0, 0x1000, 0x1000), -EBUSY);
    cr_assert_eq(object(VIRTIO_OBJECT_ADD), -EBUSY);
    cr_assert_eq(map(1, 0, 0x1000), -EINVAL);

    cr_assert_eq(next(&m), 0);
    vhost_message_drop_fds(&m);
    cr_assert_eq(map(0, 0x1000, 0x1000), -EBUSY);
    answer(&m, 0, -1);
    cr_assert_eq(object(VIRTIO_OBJECT_ADD), -EINPROGRESS);
}

Test(backend_share, the_front_ends_death_ends_what_is_asked)
{
    cr_assert_eq(map(0, 0, 0x1000), -EINPROGRESS);
    run();

    cr_assert_eq(vhost_harness_disconnect(&h), 0);

    cr_assert_eq(seen.done, 1);
    cr_assert_eq(seen.code, -ECONNRESET);
    cr_assert_eq(map(0, 0, 0x1000), -ENOTSUP);
}

Test(backend_shareless, what_was_not_negotiated_is_not_asked, .fini = quit)
{
    share(VHOST_PROTOCOL(SHMEM));

    cr_assert_eq(map(0, 0, 0x1000), -ENOTSUP, "descriptors are not sent");
    cr_assert_eq(object(VIRTIO_OBJECT_ADD), -ENOTSUP);
}

Test(backend_share, an_object_is_given_to_who_asks_for_it)
{
    struct vhost_message m = ffe_message(VHOST_USER_GET_SHARED_OBJECT, name, 16), reply;

    cr_assert_eq(ffe_ask(front(), &m, &reply), 0);
    cr_assert_eq(reply.fds, 1);
    cr_assert_eq(reply.size, 0);
    vhost_message_drop_fds(&reply);

    m.payload.uuid.bytes[0]++;
    cr_assert_eq(ffe_ask(front(), &m, &reply), 0);
    cr_assert_eq(reply.fds, 0);
}

Test(backend_share, an_object_that_is_looked_up_comes_with_its_descriptor)
{
    struct vhost_message m;

    cr_assert_eq(object(VIRTIO_OBJECT_LOOKUP), -EINPROGRESS);
    cr_assert_eq(next(&m), 0);
    cr_assert_eq(m.request, VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP);

    answer(&m, 0, seen.file);

    cr_assert_eq(seen.code, 0);
    cr_assert_geq(seen.fd, 0);
    cr_assert_eq(object(VIRTIO_OBJECT_LOOKUP), -EINPROGRESS);
    cr_assert_eq(next(&m), 0);
    answer(&m, 0, -1);
    cr_assert_eq(seen.code, -EREMOTEIO, "without a descriptor there is none");
}

Test(backend_share, names_are_added_and_removed)
{
    struct vhost_message m;

    cr_assert_eq(object(VIRTIO_OBJECT_ADD), -EINPROGRESS);
    cr_assert_eq(next(&m), 0);
    cr_assert_eq(m.request, VHOST_USER_BACKEND_SHARED_OBJECT_ADD);
    cr_assert_arr_eq(m.payload.uuid.bytes, name, 16);
    answer(&m, 0, -1);
    cr_assert_eq(seen.code, 0);

    cr_assert_eq(object(VIRTIO_OBJECT_REMOVE), -EINPROGRESS);
    cr_assert_eq(next(&m), 0);
    cr_assert_eq(m.request, VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE);
}
