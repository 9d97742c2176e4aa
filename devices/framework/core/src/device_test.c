/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The common part of devices: life cycle, state, ids. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/devices-core/device.h>

#include "core_test.h"

struct toy_state {
    uint32_t value;
    uint32_t later;
};

struct toy {
    struct vdev dev;
    uint32_t value, later;
    int reset_rc, quiesce_rc, resume_rc;
    unsigned resets, quiesces, resumes;
    bool *destroyed;
};

static struct toy *toy_of(struct vdev *dev)
{
    return container_of(dev, struct toy, dev);
}

static int toy_reset(struct vdev *dev)
{
    struct toy *toy = toy_of(dev);

    cr_assert(vm_lock_held(&dev->lock));
    toy->resets++;
    toy->value = 0;
    return toy->reset_rc;
}

static int toy_quiesce(struct vdev *dev)
{
    cr_assert(vm_lock_held(&dev->lock));
    toy_of(dev)->quiesces++;
    return toy_of(dev)->quiesce_rc;
}

static int toy_resume(struct vdev *dev)
{
    cr_assert(vm_lock_held(&dev->lock));
    toy_of(dev)->resumes++;
    return toy_of(dev)->resume_rc;
}

static void toy_save(struct vdev *dev, void *ret_state)
{
    struct toy_state *s = ret_state;

    cr_assert(vm_lock_held(&dev->lock));
    s->value = toy_of(dev)->value;
    s->later = toy_of(dev)->later;
}

static int toy_load(struct vdev *dev, const void *untrusted)
{
    const struct toy_state *s = untrusted;

    cr_assert(vm_lock_held(&dev->lock));
    if (s->value > 100)
        return vm_fail(-EINVAL, "value %u is over 100", s->value);
    toy_of(dev)->value = s->value;
    toy_of(dev)->later = s->later;
    return 0;
}

static void toy_destroy(struct vdev *dev)
{
    *toy_of(dev)->destroyed = true;
    vdev_exit(dev);
}

static const struct vdev_ops toy_ops = {
    .reset = toy_reset,
    .quiesce = toy_quiesce,
    .resume = toy_resume,
    .save = toy_save,
    .load = toy_load,
    .destroy = toy_destroy,
};

static const struct vm_state_field toy_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct toy_state, value) },
    { .tag = 2, .type = VM_STATE_U32, .since = 2, .offset = offsetof(struct toy_state, later) },
    { 0 },
};

static const struct vdev_class toy_class = {
    .name = "toy",
    .state = toy_fields,
    .state_size = sizeof(struct toy_state),
    .state_version = 2,
};

/* The same before the field "later" came. */
static const struct vm_state_field old_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct toy_state, value) },
    { 0 },
};

static const struct vdev_class plain_class = { .name = "plain" };
static const struct vdev_ops plain_ops = { .destroy = toy_destroy };

struct fixture {
    struct test_env t;
    struct vdev_machine machine;
    struct toy toy;
    bool destroyed;
    unsigned unparked, told;
    char why[64];
    enum vdev_event event;
    uint32_t value;
};

static void on_event(struct vdev_machine *machine, struct vdev *dev, enum vdev_event event,
                     uint32_t value)
{
    struct fixture *f = container_of(machine, struct fixture, machine);

    (void)dev;
    f->event = event;
    f->value = value;
}

static void on_unpark(struct vdev_machine *machine, struct vdev *dev)
{
    (void)dev;
    container_of(machine, struct fixture, machine)->unparked++;
}

static void on_broken(struct vdev_machine *machine, struct vdev *dev, const char *why)
{
    struct fixture *f = container_of(machine, struct fixture, machine);

    (void)dev;
    f->told++;
    snprintf(f->why, sizeof(f->why), "%s", why);
}

static const struct vdev_machine_ops machine_ops = { .event = on_event,
                                                     .unpark = on_unpark,
                                                     .broken = on_broken };

static struct vdev *setup(struct fixture *f, const struct vdev_class *cls,
                          const struct vdev_ops *ops)
{
    struct vdev_context context;

    *f = (struct fixture){ .machine = { .ops = &machine_ops } };
    test_env_init(&f->t);
    f->toy.destroyed = &f->destroyed;
    context = (struct vdev_context){ .env = &f->t.env, .machine = &f->machine, .id = "toy7" };
    vdev_init(&f->toy.dev, cls, ops, &context);
    return &f->toy.dev;
}

static unsigned done_calls;
static int done_code;

static void on_done(struct vdev *dev, int code)
{
    cr_assert(vm_lock_held(&dev->lock));
    done_calls++;
    done_code = code;
}

static void finish(struct vdev *dev, int code)
{
    vm_lock_acquire(&dev->lock);
    vdev_done(dev, code);
    vm_lock_release(&dev->lock);
}

Test(device, init_copies_the_id_and_destroy_ends_it)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);

    cr_assert_str_eq(dev->id, "toy7");
    cr_assert_eq(dev->lock.rank, VM_RANK_DEVICE);
    cr_assert_str_eq(dev->lock.name, "toy7");

    vdev_destroy(dev);
    vdev_destroy(NULL);

    cr_assert(f.destroyed);
}

Test(device, done_is_not_called_for_what_ended_at_once)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);

    cr_assert_eq(vdev_reset(dev, on_done), 0);
    cr_assert_eq(vdev_quiesce(dev, on_done), 0);

    cr_assert_eq(done_calls, 0);
    cr_assert(dev->quiesced);
    vdev_destroy(dev);
}

Test(device, an_asynchronous_quiesce_counts_from_done_on)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);
    f.toy.quiesce_rc = -EINPROGRESS;

    cr_assert_eq(vdev_quiesce(dev, on_done), -EINPROGRESS);
    cr_assert_not(dev->quiesced);
    finish(dev, 0);

    cr_assert(dev->quiesced);
    cr_assert_eq(done_calls, 1);
    cr_assert_eq(done_code, 0);
    vdev_destroy(dev);
}

Test(device, a_quiesce_that_fails_later_leaves_it_running)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);
    f.toy.quiesce_rc = -EINPROGRESS;

    cr_assert_eq(vdev_quiesce(dev, on_done), -EINPROGRESS);
    finish(dev, -EIO);

    cr_assert_not(dev->quiesced);
    cr_assert_eq(done_code, -EIO);
    vdev_destroy(dev);
}

Test(device, only_one_asynchronous_call_at_a_time)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);
    f.toy.reset_rc = -EINPROGRESS;

    cr_assert_eq(vdev_reset(dev, NULL), -EINPROGRESS);
    cr_assert_eq(vdev_quiesce(dev, on_done), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "toy7: a reset is still under way");
    cr_assert_eq(vdev_load(dev, "", 0), -EBUSY);
    finish(dev, 0);

    cr_assert_eq(done_calls, 0, "reset had no waiter");
    cr_assert_eq(vdev_quiesce(dev, on_done), 0);
    vdev_destroy(dev);
}

Test(device, resume_waits_for_no_quiesce)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);
    f.toy.quiesce_rc = -EINPROGRESS;

    cr_assert_eq(vdev_quiesce(dev, on_done), -EINPROGRESS);
    cr_assert_eq(vdev_resume(dev), -EBUSY);
    cr_assert_eq(vdev_reset(dev, NULL), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "toy7: a quiesce is still under way");
    finish(dev, 0);

    cr_assert_eq(vdev_resume(dev), 0);
    cr_assert_eq(f.toy.resumes, 1);
    vdev_destroy(dev);
}

Test(device, quiesce_and_resume_do_nothing_twice)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);

    cr_assert_eq(vdev_resume(dev), 0);
    cr_assert_eq(vdev_quiesce(dev, NULL) | vdev_quiesce(dev, NULL), 0);
    cr_assert_eq(vdev_resume(dev) | vdev_resume(dev), 0);

    cr_assert_eq(f.toy.quiesces, 1);
    cr_assert_eq(f.toy.resumes, 1);
    cr_assert_not(dev->quiesced);
    vdev_destroy(dev);
}

Test(device, a_resume_that_fails_leaves_it_quiesced)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);
    f.toy.resume_rc = -EIO;
    cr_assert_eq(vdev_quiesce(dev, NULL), 0);

    cr_assert_eq(vdev_resume(dev), -EIO);

    cr_assert(dev->quiesced);
    vdev_destroy(dev);
}

Test(device, save_load_save_gives_equal_bytes)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);
    struct vm_buffer first = { 0 }, second = { 0 };
    f.toy.value = 42;
    f.toy.later = 43;
    cr_assert_eq(vdev_save(dev, &first), 0);
    f.toy.value = f.toy.later = 0;

    cr_assert_eq(vdev_load(dev, first.data, first.len), 0);
    cr_assert_eq(vdev_save(dev, &second), 0);

    cr_assert_eq(f.toy.value, 42);
    cr_assert_eq(f.toy.later, 43);
    cr_assert_eq(first.len, second.len);
    cr_assert_arr_eq(first.data, second.data, first.len);
    vm_buffer_free(&first);
    vm_buffer_free(&second);
    vdev_destroy(dev);
}

Test(device, a_field_that_an_older_section_lacks_keeps_the_devices_value)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);
    struct vm_buffer old = { 0 };
    struct toy_state state = { .value = 5 };
    cr_assert_eq(vm_state_save(old_fields, 1, &state, &old), 0);
    f.toy.later = 9;

    cr_assert_eq(vdev_load(dev, old.data, old.len), 0);

    cr_assert_eq(f.toy.value, 5);
    cr_assert_eq(f.toy.later, 9);
    vm_buffer_free(&old);
    vdev_destroy(dev);
}

Test(device, a_load_that_is_refused_resets_the_device_and_keeps_the_text)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);
    struct vm_buffer buffer = { 0 };
    f.toy.value = 101;
    cr_assert_eq(vdev_save(dev, &buffer), 0);

    cr_assert_eq(vdev_load(dev, buffer.data, buffer.len), -EINVAL);

    cr_assert_str_eq(vm_error_text(), "toy7: value 101 is over 100");
    cr_assert_eq(f.toy.resets, 1);
    cr_assert_eq(f.toy.value, 0);
    vm_buffer_free(&buffer);
    vdev_destroy(dev);
}

Test(device, broken_bytes_are_refused_with_the_devices_name)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);

    cr_assert_eq(vdev_load(dev, "abc", 3), -EPROTO);

    cr_assert_eq(strncmp(vm_error_text(), "toy7: ", 6), 0);
    cr_assert_eq(f.toy.resets, 1);
    vdev_destroy(dev);
}

Test(device, a_class_without_state_and_callbacks_has_an_empty_section)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &plain_class, &plain_ops);
    struct vm_buffer buffer = { 0 };

    cr_assert_eq(vdev_save(dev, &buffer), 0);

    cr_assert_eq(buffer.len, 8);
    cr_assert_eq(vdev_load(dev, buffer.data, buffer.len), 0);
    cr_assert_eq(vdev_load(dev, buffer.data, 7), -EPROTO);
    cr_assert_eq(vdev_reset(dev, NULL) | vdev_quiesce(dev, NULL) | vdev_resume(dev), 0);
    vm_buffer_free(&buffer);
    vdev_destroy(dev);
}

Test(device, broken_is_told_once_until_the_next_reset)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);

    vdev_broken(dev, "back end is away");
    vdev_broken(dev, "again");

    cr_assert_eq(f.told, 1);
    cr_assert_eq(f.t.lines, 1);
    cr_assert_str_eq(f.t.line, "toy7: back end is away");
    cr_assert_str_eq(f.why, "back end is away");
    cr_assert_eq(vdev_reset(dev, NULL), 0);
    cr_assert_not(dev->broken);
    vm_fail(-EIO, "from the text");
    vdev_broken(dev, NULL);
    cr_assert_str_eq(f.why, "from the text");
    vdev_destroy(dev);
}

Test(device, unpark_and_event_reach_the_machine)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);
    vdev_park(dev);
    cr_assert_eq(dev->parked, 1);

    vdev_unpark(dev);
    vdev_event(dev, VDEV_EVENT_DEBUG, 0x42);

    cr_assert_eq(f.unparked, 1);
    cr_assert_eq(dev->parked, 0);
    cr_assert_eq(f.event, VDEV_EVENT_DEBUG);
    cr_assert_eq(f.value, 0x42);
    vdev_destroy(dev);
}

Test(device, ids_are_made_from_class_and_number)
{
    static const struct vdev_class cls = {
        .name = "a-class-name-that-is-longer-than-anyone-would-ever-dare-to-make-it-in-earnest"
    };
    char id[VDEV_ID_MAX + 1];

    vdev_id_make(&toy_class, 12, id);
    cr_assert_str_eq(id, "toy12");
    vdev_id_make(&cls, UINT32_MAX, id);

    cr_assert_eq(strlen(id), 58);
    cr_assert_str_eq(id + 48, "4294967295");
}

Test(device, ids_are_checked)
{
    char longest[VDEV_ID_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[VDEV_ID_MAX + 1] = 0;

    cr_assert_eq(vdev_id_check("disk0.a_b-C"), 0);
    cr_assert_eq(vdev_id_check(longest + 1), 0);
    cr_assert_eq(vdev_id_check(longest), -EINVAL);
    cr_assert_eq(vdev_id_check(""), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "id '': use 1 to 63 characters");
    cr_assert_eq(vdev_id_check("-a"), -EINVAL);
    cr_assert_eq(vdev_id_check("a/b"), -EINVAL);
    cr_assert_str_eq(vm_error_text(),
                     "id 'a/b': use letters, digits and . _ -, a letter or digit first");
}

struct wire {
    struct vdev_irq irq;
    bool level;
};

static void wire_set(struct vdev_irq *irq, bool level)
{
    container_of(irq, struct wire, irq)->level = level;
}

static int count_msi(struct vdev_msi_sink *sink, const struct vdev_msi *msi)
{
    (void)sink;
    return (int)msi->data;
}

Test(interrupt, a_line_that_is_not_there_swallows_levels)
{
    struct wire wire = { .irq = { .set = wire_set } };
    struct vdev_msi_sink sink = { .send = count_msi };

    vdev_irq_set(NULL, true);
    vdev_irq_set(&wire.irq, true);

    cr_assert(wire.level);
    cr_assert_eq(vdev_msi_send(&sink, &(struct vdev_msi){ .data = 3 }), 3);
}

static void toy_give_up(struct vdev *dev)
{
    vdev_done(dev, vm_fail(-ETIMEDOUT, "too late"));
}

Test(device, a_quiesce_that_is_given_up_has_failed)
{
    struct vdev_ops ops = toy_ops;
    struct fixture f;
    struct vdev *dev;

    ops.give_up = toy_give_up;
    dev = setup(&f, &toy_class, &ops);
    f.toy.quiesce_rc = -EINPROGRESS;
    done_calls = 0;
    cr_assert_eq(vdev_quiesce(dev, on_done), -EINPROGRESS);

    vdev_give_up(dev);
    vdev_give_up(dev);

    cr_assert_eq(done_calls, 1);
    cr_assert_eq(done_code, -ETIMEDOUT);
    cr_assert_not(dev->quiesced);
    cr_assert_eq(vdev_resume(dev), 0);
    vdev_destroy(dev);
}

Test(device, a_reset_is_not_given_up)
{
    struct vdev_ops ops = toy_ops;
    struct fixture f;
    struct vdev *dev;

    ops.give_up = toy_give_up;
    dev = setup(&f, &toy_class, &ops);
    f.toy.reset_rc = -EINPROGRESS;
    done_calls = 0;
    cr_assert_eq(vdev_reset(dev, on_done), -EINPROGRESS);

    vdev_give_up(dev);

    cr_assert_eq(done_calls, 0);
    finish(dev, 0);
    vdev_destroy(dev);
}

Test(device, trouble_is_told_each_time_and_breaks_nothing)
{
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &toy_ops);

    vdev_trouble(dev, "slow");
    vdev_trouble(dev, "slow again");

    cr_assert_eq(f.told, 2);
    cr_assert_str_eq(f.why, "slow again");
    cr_assert_not(dev->broken);
    vdev_destroy(dev);
}

static int toy_remove(struct vdev *dev)
{
    cr_assert(dev->leaving);
    return toy_reset(dev);
}

Test(device, a_removal_is_asynchronous_and_may_be_waited_for_again)
{
    struct vdev_ops ops = toy_ops;
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &ops);
    ops.remove = toy_remove;
    f.toy.reset_rc = -EINPROGRESS;

    cr_assert_eq(vdev_remove(dev, on_done), -EINPROGRESS);
    cr_assert_eq(vdev_reset(dev, NULL), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "toy7: a removal is still under way");
    finish(dev, -ETIMEDOUT);
    cr_assert(dev->leaving, "that it failed in time does not bring it back");
    cr_assert_eq(vdev_remove(dev, on_done), -EINPROGRESS);
    finish(dev, 0);

    cr_assert_eq(done_calls, 2);
    cr_assert_eq(done_code, 0);
    cr_assert_not(dev->quiesced);
    vdev_destroy(dev);
}

Test(device, a_removal_that_cannot_begin_leaves_the_device_as_it_is)
{
    struct vdev_ops ops = toy_ops;
    struct fixture f;
    struct vdev *dev = setup(&f, &toy_class, &ops);
    f.toy.reset_rc = -EINPROGRESS;

    cr_assert_eq(vdev_remove(dev, on_done), -ENOTSUP);
    cr_assert(strstr(vm_error_text(), "cannot be removed while the machine runs"));
    ops.remove = toy_remove;
    dev->stays = "it is the only one";
    cr_assert_eq(vdev_remove(dev, on_done), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "toy7: cannot be removed: it is the only one");
    dev->stays = NULL;
    cr_assert_eq(vdev_reset(dev, NULL), -EINPROGRESS);
    cr_assert_eq(vdev_remove(dev, on_done), -EBUSY);

    cr_assert_not(dev->leaving);
    finish(dev, 0);
    vdev_destroy(dev);
}

struct dial_config {
    uint32_t step;
    bool loud;
};

static int dial_set(struct vdev *dev, const struct vm_prop *prop, const void *config)
{
    cr_assert(vm_lock_held(&dev->lock));
    if (prop->offset != offsetof(struct dial_config, step))
        return vm_fail(-EINVAL, "%s stays", prop->name);
    toy_of(dev)->value = ((const struct dial_config *)config)->step;
    return 0;
}

static const struct vm_prop dial_props[] = {
    { .name = "step", .type = VM_PROP_U32, .offset = offsetof(struct dial_config, step), .max = 9 },
    { .name = "loud", .type = VM_PROP_BOOL, .offset = offsetof(struct dial_config, loud) },
    { 0 },
};
static const struct vdev_class dial_class = { .name = "dial",
                                              .props = dial_props,
                                              .config_size = sizeof(struct dial_config) };
static const struct vdev_ops dial_ops = { .set = dial_set, .destroy = toy_destroy };

static struct vdev *make_dial(struct toy *toy, bool *destroyed, const struct vdev_ops *ops)
{
    static const struct vdev_context context = { .id = "dial0" };

    *toy = (struct toy){ .destroyed = destroyed };
    vdev_init(&toy->dev, &dial_class, ops, &context);
    return &toy->dev;
}

Test(device, a_property_is_changed_under_the_lock)
{
    bool destroyed;
    struct toy toy;
    struct vdev *dev = make_dial(&toy, &destroyed, &dial_ops);
    const struct vm_prop *prop;
    void *config;

    cr_assert_eq(vdev_config_parse(dev, "step=7", &prop, &config), 0);
    cr_assert_eq(vdev_set(dev, prop, config), 0);

    cr_assert_eq(toy.value, 7);
    vdev_config_free(dev, config);
    vdev_destroy(dev);
}

Test(device, a_class_that_knows_no_change_says_so)
{
    static const struct vdev_ops without = { .destroy = toy_destroy };
    bool destroyed;
    struct toy toy;
    struct vdev *dev = make_dial(&toy, &destroyed, &without);
    const struct vm_prop *prop;
    void *config;

    cr_assert_eq(vdev_config_parse(dev, "step=7", &prop, &config), 0);
    cr_assert_eq(vdev_set(dev, prop, config), -ENOTSUP);

    cr_assert_str_eq(vm_error_text(), "dial0: step cannot be changed while the machine runs");
    vdev_config_free(dev, config);
    vdev_destroy(dev);
}

Test(device, a_class_that_asks_its_guest_for_nothing_says_so)
{
    static const struct vdev_ops without = { .destroy = toy_destroy };
    const uint64_t *answers = NULL;
    bool destroyed;
    struct toy toy;
    struct vdev *dev = make_dial(&toy, &destroyed, &without);

    cr_assert_eq(vdev_refresh(dev, &answers), -ENOTSUP);

    cr_assert_str_eq(vm_error_text(), "dial0 has no metrics that its guest would be asked for");
    cr_assert_null(answers);
    vdev_destroy(dev);
}

Test(device, what_is_no_property_with_a_value_is_refused)
{
    static const struct {
        const char *text, *why;
    } row[] = {
        { "step", "dial0: 'step' is not KEY=VALUE" },
        { "stop=1", "dial0: unknown key 'stop'" },
        { "step=10", "dial0: step=10" },
        { "step=", "dial0: step=" },
    };
    bool destroyed;
    struct toy toy;
    struct vdev *dev = make_dial(&toy, &destroyed, &dial_ops);
    const struct vm_prop *prop;
    void *config;

    for (size_t i = 0; i < VM_ARRAY_SIZE(row); i++) {
        cr_expect(vdev_config_parse(dev, row[i].text, &prop, &config) < 0);
        cr_expect(!strncmp(vm_error_text(), row[i].why, strlen(row[i].why)), "%s", vm_error_text());
    }
    vdev_destroy(dev);
}
