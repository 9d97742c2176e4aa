/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Ledgers: what the next one of a device finds. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/devices-core/ledger.h>

#include "core_test.h"

struct pad_state {
    uint32_t told, passing;
};

/* told is what the guest has said, passing what is in its rings as well. */
struct pad {
    struct vdev dev;
    struct pad_state s;
};

static struct pad *pad_of(struct vdev *dev)
{
    return container_of(dev, struct pad, dev);
}

static int pad_reset(struct vdev *dev)
{
    pad_of(dev)->s = (struct pad_state){ 0 };
    return 0;
}

static void pad_save(struct vdev *dev, void *ret_state)
{
    cr_assert(vm_lock_held(&dev->lock));
    memcpy(ret_state, &pad_of(dev)->s, sizeof(struct pad_state));
}

static int pad_load(struct vdev *dev, const void *untrusted)
{
    const struct pad_state *s = untrusted;

    if (s->told > 100)
        return vm_fail(-EINVAL, "told %u is over 100", s->told);
    pad_of(dev)->s = *s;
    return 0;
}

static void pad_destroy(struct vdev *dev)
{
    vdev_exit(dev);
}

static const struct vdev_ops pad_ops = {
    .reset = pad_reset, .save = pad_save, .load = pad_load, .destroy = pad_destroy
};

static const struct vm_state_field state_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct pad_state, told) },
    { .tag = 2, .type = VM_STATE_U32, .offset = offsetof(struct pad_state, passing) },
    { 0 },
};
static const struct vm_state_field ledger_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct pad_state, told) },
    { 0 },
};
static const struct vdev_class pad_class = {
    .name = "pad",
    .state = state_fields,
    .state_size = sizeof(struct pad_state),
    .state_version = 1,
    .ledger = ledger_fields,
};

static struct test_env t;
static struct pad pad;
static int fd;

/* A process of the device begins. */
static void begin(void)
{
    struct vdev_context context = { .env = &t.env, .id = "pad0" };

    pad = (struct pad){ 0 };
    vdev_init(&pad.dev, &pad_class, &pad_ops, &context);
    cr_assert_eq(vdev_ledger_attach(&pad.dev, fd), 0, "%s", vm_error_text());
}

static void tell(uint32_t told, uint32_t passing)
{
    vm_lock_acquire(&pad.dev.lock);
    pad.s = (struct pad_state){ told, passing };
    vdev_ledger_changed(&pad.dev);
    vm_lock_release(&pad.dev.lock);
}

/* It dies: nothing of it is left but the file. */
static void die(void)
{
    vdev_destroy(&pad.dev);
}

static void set_up(void)
{
    test_env_init(&t);
    fd = vdev_ledger_new("pad0");
    cr_assert_geq(fd, 0);
}

static void tear_down(void)
{
    vm_close(&fd);
}

TestSuite(ledger, .init = set_up, .fini = tear_down);

Test(ledger, what_was_told_outlives_the_process_and_the_rest_does_not)
{
    begin();
    tell(7, 8);
    die();
    begin();

    cr_assert_eq(pad.s.told, 7);
    cr_assert_eq(pad.s.passing, 0);
    die();
}

Test(ledger, a_device_at_rest_leaves_all_of_its_state)
{
    begin();
    tell(7, 8);
    cr_assert_eq(vdev_quiesce(&pad.dev, NULL), 0);
    die();
    begin();

    cr_assert_eq(pad.s.told, 7);
    cr_assert_eq(pad.s.passing, 8);
    die();
}

Test(ledger, a_device_that_goes_on_leaves_what_was_told_again)
{
    begin();
    tell(7, 8);
    cr_assert_eq(vdev_quiesce(&pad.dev, NULL), 0);
    cr_assert_eq(vdev_resume(&pad.dev), 0);
    die();
    begin();

    cr_assert_eq(pad.s.told, 7);
    cr_assert_eq(pad.s.passing, 0);
    die();
}

Test(ledger, a_process_that_has_not_begun_to_work_leaves_what_it_found)
{
    begin();
    tell(7, 8);
    cr_assert_eq(vdev_quiesce(&pad.dev, NULL), 0);
    die();
    begin();
    die();
    begin();

    cr_assert_eq(pad.s.passing, 8);
    die();
}

Test(ledger, a_reset_is_written_down)
{
    begin();
    tell(7, 8);
    cr_assert_eq(vdev_reset(&pad.dev, NULL), 0);
    die();
    begin();

    cr_assert_eq(pad.s.told, 0);
    die();
}

Test(ledger, what_is_loaded_is_written_down)
{
    struct vm_buffer section = { 0 };
    const struct pad_state s = { 5, 6 };

    cr_assert_eq(vm_state_save(state_fields, 1, &s, &section), 0);
    begin();
    cr_assert_eq(vdev_load(&pad.dev, section.data, section.len), 0);
    die();
    begin();

    cr_assert_eq(pad.s.told, 5);
    vm_buffer_free(&section);
    die();
}

Test(ledger, one_that_was_let_go_stays_as_it_is)
{
    begin();
    tell(7, 8);
    vdev_ledger_detach(&pad.dev);
    cr_assert_eq(vdev_reset(&pad.dev, NULL), 0);
    die();
    begin();

    cr_assert_eq(pad.s.told, 7);
    die();
}

Test(ledger, a_write_that_was_not_finished_leaves_the_one_before)
{
    static const uint64_t nothing;

    begin();
    tell(7, 0);
    tell(8, 0);
    die();
    /* made, told, told: the third is in the second half. Its number is the last that is written. */
    cr_assert_eq(pwrite(fd, &nothing, sizeof(nothing), VDEV_LEDGER_BYTES / 2), sizeof(nothing));
    begin();

    cr_assert_eq(pad.s.told, 7);
    die();
}

Test(ledger, what_the_device_refuses_is_lost_and_told)
{
    begin();
    tell(101, 0);
    die();
    begin();

    cr_assert_eq(pad.s.told, 0);
    cr_assert_str_eq(t.line,
                     "pad0: what the guest has told it is lost: pad0: told 101 is over 100");
    tell(3, 0);
    die();
    begin();
    cr_assert_eq(pad.s.told, 3, "a broken ledger is written again");
    die();
}

Test(ledger, any_bytes_leave_a_device_that_works)
{
    uint8_t bytes[512];
    unsigned seed = 1;

    for (unsigned round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)(rand_r(&seed) >> (i % 3 ? 8 : 16));
        memset(bytes + 1, 0, 7); /* a number of one byte, what and a length that may be */
        bytes[8] = (uint8_t)(bytes[8] % 3);
        memset(bytes + 9, 0, 3);
        memset(bytes + 13, 0, 3);
        cr_assert_eq(pwrite(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
        begin();
        cr_assert_leq(pad.s.told, 100);
        die();
    }
}

Test(ledger, a_vmm_reads_and_writes_what_processes_do)
{
    struct pad_state s = { 1, 2 };

    cr_assert_eq(vdev_ledger_get(&pad_class, fd, &s), -ENODATA);
    cr_assert_eq(s.told, 1);
    begin();
    tell(7, 8);
    die();
    cr_assert_eq(vdev_ledger_get(&pad_class, fd, &s), 0);
    cr_assert_eq(s.told, 7);
    s = (struct pad_state){ 9, 10 };
    cr_assert_eq(vdev_ledger_put(&pad_class, fd, &s), 0);
    begin();

    cr_assert_eq(pad.s.told, 9);
    cr_assert_eq(pad.s.passing, 10);
    die();
}

Test(ledger, its_size_is_sealed)
{
    cr_assert_neq(ftruncate(fd, 0), 0);
    cr_assert_neq(ftruncate(fd, 2 * VDEV_LEDGER_BYTES), 0);
}

Test(ledger, another_file_is_refused)
{
    struct vdev_context context = { .env = &t.env, .id = "pad0" };
    int pipe_fd[2], small = memfd_create("small", MFD_CLOEXEC);

    cr_assert_eq(pipe(pipe_fd), 0);
    vdev_init(&pad.dev, &pad_class, &pad_ops, &context);

    cr_assert_eq(vdev_ledger_attach(&pad.dev, pipe_fd[0]), -EINVAL);
    cr_assert_eq(vdev_ledger_attach(&pad.dev, small), -EINVAL);
    cr_assert_null(pad.dev.ledger);
    vdev_destroy(&pad.dev);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    close(small);
}
