/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Objects that two back ends of one machine share, each behind its front end. */
#include "front_test.h"

#include <sys/mman.h>

#include <vmm/vhost/objects.h>

static struct {
    struct vhost_objects *table;
    struct fake_back_end back; /* of the second device; the first is ft's */
    struct vhost_front *front;
} other;

static const struct vhost_uuid name_a = { "object a" }, name_b = { "object b" };

/* The second device, which nobody drives. */
static void make_other(void)
{
    struct vhost_front_setup setup = ft.setup;
    struct vdev_context context = ft.h.context;
    int pair[2];

    fbe_init(&other.back, &ft.h.env);
    other.back.features = ft.back.features;
    other.back.protocol = ft.back.protocol;
    other.back.config_bytes = ft.back.config_bytes;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(fbe_serve(&other.back, pair[1]), 0);
    setup.socket = NULL;
    setup.fd = pair[0];
    context.id = "other";
    cr_assert_eq(vhost_front_new(&ft_class, &context, &setup, NULL, &other.front), 0);
}

static void open_two(void)
{
    ft_open_all(VH_PCI);
    cr_assert_eq(vhost_objects_new(&other.table), 0);
    ft.h.context.machine->objects = other.table;
    ft.back.protocol |= VHOST_PROTOCOL(SHARED_OBJECT);
    ft_run();
    make_other();
    ft.back.object_fd = memfd_create("object", MFD_CLOEXEC);
}

static void drop_other(void)
{
    if (other.front)
        vdev_destroy(&vhost_front_dev(other.front)->dev);
    other.front = NULL;
    fbe_die(&other.back);
}

static void close_two(void)
{
    drop_other();
    vm_close(&ft.back.object_fd);
    ft_close();
    vhost_objects_free(other.table);
}

TestSuite(front_object, .init = open_two, .fini = close_two);

static void say(struct fake_back_end *b, uint32_t request, const struct vhost_uuid *uuid)
{
    struct vhost_message m = { .request = request,
                               .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_NEED_REPLY,
                               .size = sizeof(*uuid) };

    m.payload.uuid = *uuid;
    cr_assert_eq(fbe_ask(b, &m), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

/* Its answer; UINT64_MAX: none (yet). */
static uint64_t ask(struct fake_back_end *b, uint32_t request, const struct vhost_uuid *uuid)
{
    unsigned before = b->asks_answers;

    say(b, request, uuid);
    return b->asks_answers == before ? UINT64_MAX : b->asks_answer;
}

static uint64_t add(struct fake_back_end *b, const struct vhost_uuid *uuid)
{
    return ask(b, VHOST_USER_BACKEND_SHARED_OBJECT_ADD, uuid);
}

static uint64_t remove_it(struct fake_back_end *b, const struct vhost_uuid *uuid)
{
    return ask(b, VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE, uuid);
}

static uint64_t lookup(struct fake_back_end *b, const struct vhost_uuid *uuid)
{
    return ask(b, VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP, uuid);
}

Test(front_object, one_back_end_gets_what_the_other_has)
{
    cr_assert_eq(add(&ft.back, &name_a), 0);

    cr_assert_eq(lookup(&other.back, &name_a), 0);

    cr_assert_eq(other.back.asks_fds, 1);
    cr_assert_arr_eq(&ft.back.object, &name_a, sizeof(name_a));
    cr_assert_eq(lookup(&other.back, &name_b), 1);
    cr_assert_eq(other.back.asks_fds, 0);
}

Test(front_object, an_owner_without_it_is_a_refusal)
{
    cr_assert_eq(add(&ft.back, &name_a), 0);
    vm_close(&ft.back.object_fd);

    cr_assert_eq(lookup(&other.back, &name_a), 1);

    cr_assert_eq(other.back.asks_fds, 0);
}

Test(front_object, a_back_end_may_ask_for_its_own)
{
    cr_assert_eq(add(&ft.back, &name_a), 0);

    cr_assert_eq(lookup(&ft.back, &name_a), 0);

    cr_assert_eq(ft.back.asks_fds, 1);
}

Test(front_object, a_name_is_the_first_ones)
{
    cr_assert_eq(add(&ft.back, &name_a), 0);

    cr_assert_eq(add(&other.back, &name_a), 1);
    cr_assert_eq(remove_it(&other.back, &name_a), 1);
    cr_assert_eq(remove_it(&ft.back, &name_a), 0);

    cr_assert_eq(remove_it(&ft.back, &name_a), 1);
    cr_assert_eq(lookup(&other.back, &name_a), 1);
    cr_assert_eq(add(&other.back, &name_a), 0);
}

Test(front_object, no_back_end_has_more_names_than_it_may)
{
    struct vhost_uuid uuid = { { 0 } };

    for (unsigned i = 0; i < VHOST_OBJECTS_OWNED; i++) {
        uuid.bytes[0] = (uint8_t)i;
        uuid.bytes[1] = 1;
        cr_assert_eq(add(&ft.back, &uuid), 0, "%u", i);
    }

    cr_assert_eq(add(&ft.back, &name_a), 1);
    cr_assert_eq(add(&other.back, &name_a), 0, "the other has its own");
    cr_assert_eq(remove_it(&ft.back, &uuid), 0);
    cr_assert_eq(add(&ft.back, &name_b), 0);
}

Test(front_object, the_owners_death_takes_its_names_along)
{
    cr_assert_eq(add(&ft.back, &name_a), 0);

    fbe_die(&ft.back);
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);

    cr_assert_eq(lookup(&other.back, &name_a), 1);
    cr_assert_eq(add(&other.back, &name_a), 0);
}

Test(front_object, who_waits_for_an_owner_that_dies_is_told)
{
    cr_assert_eq(add(&ft.back, &name_a), 0);
    ft.back.silent = VHOST_USER_GET_SHARED_OBJECT;
    cr_assert_eq(lookup(&other.back, &name_a), UINT64_MAX);

    fbe_die(&ft.back);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(other.back.asks_answer, 1);
    cr_assert_eq(add(&other.back, &name_b), 0, "its requests are taken again");
}

Test(front_object, an_owner_that_does_not_answer_is_sent_away)
{
    cr_assert_eq(add(&ft.back, &name_a), 0);
    ft.back.silent = VHOST_USER_GET_SHARED_OBJECT;
    cr_assert_eq(lookup(&other.back, &name_a), UINT64_MAX);

    cr_assert_eq(vh_pass(&ft.h, 6 * SECOND), 0);

    cr_assert_geq(ft.back.closed, 1);
    cr_assert_eq(other.back.asks_answer, 1);
}

Test(front_object, an_asker_that_goes_away_leaves_the_owner_in_peace)
{
    struct vhost_message late = { .request = VHOST_USER_GET_SHARED_OBJECT,
                                  .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY };

    cr_assert_eq(add(&ft.back, &name_a), 0);
    ft.back.silent = VHOST_USER_GET_SHARED_OBJECT;
    cr_assert_eq(lookup(&other.back, &name_a), UINT64_MAX);
    drop_other();

    late.fd[late.fds++] = ft.back.object_fd;
    cr_assert_eq(vhost_channel_send(ft.back.channel, &late), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.back.closed, 0);
    ft.back.silent = 0;
    cr_assert_eq(lookup(&ft.back, &name_a), 0);
}

Test(front_object, is_not_negotiated_where_there_is_no_table)
{
    drop_other();
    ft.h.context.machine->objects = NULL;

    make_other();

    cr_assert_not(other.back.set_protocol & VHOST_PROTOCOL(SHARED_OBJECT));
}
