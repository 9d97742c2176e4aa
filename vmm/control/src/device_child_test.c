/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device's process on its channel, before its device is made. */
#include "device_child.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/machine/process.h>

static struct device_child child;
static struct vm_env env;
static int vmm_end, child_end;

static void begin(void)
{
    int fd[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
    vmm_end = fd[0];
    child_end = fd[1];
    vmm_device_child_init(&child, child_end, VM_LOG_ERROR, &env);
}

static void end(void)
{
    close(vmm_end);
    close(child_end);
}

TestSuite(device_child, .init = begin, .fini = end, .timeout = TEST_TIMEOUT);

static void say(enum vmm_process_type type, int code, const char *text, int fd)
{
    struct vmm_process_message m;

    vmm_process_message(&m, type, code, 0, text);
    cr_assert_eq(vmm_process_send(vmm_end, &m, fd), 0);
}

Test(device_child, a_name_that_is_refused_has_the_vmms_reason)
{
    say(VMM_PROCESS_OPENED, -EACCES, "not a name that this device was given", -1);

    cr_assert_eq(env.open(env.ctx, "file", VM_OPEN_READ), -EACCES);
}

Test(device_child, a_vmm_that_has_gone_is_no_answer)
{
    shutdown(vmm_end, SHUT_RDWR);

    cr_assert_lt(env.open(env.ctx, "file", VM_OPEN_READ), 0);
}

/* ---- a device whose rows can be set, but to 3 ---- */

struct door_config {
    struct vdev_common common;
    uint32_t rows, cols;
};
static const struct vm_prop door_props[] = {
    VDEV_PROPS(struct door_config),
    { .name = "rows",
      .type = VM_PROP_U32,
      .live = true,
      .offset = offsetof(struct door_config, rows) },
    { .name = "cols", .type = VM_PROP_U32, .offset = offsetof(struct door_config, cols) },
    { 0 },
};
static const struct vdev_class door_class = { .name = "door",
                                              .kind = VDEV_VIRTIO,
                                              .props = door_props,
                                              .config_size = sizeof(struct door_config) };

static int door_set(struct vdev *dev, const struct vm_prop *prop, const void *config)
{
    uint32_t value = *(const uint32_t *)(const void *)((const char *)config + prop->offset);

    return value == 3 ? vm_fail(-ERANGE, "%s: three is too few", dev->id) : 0;
}

static const struct vdev_ops door_ops = { .set = door_set };

/* The VMM asks for it; the answer. */
static struct vmm_process_message asked(const char *key_value, uint32_t number)
{
    static struct virtio_dev dev = { .dev = { .cls = &door_class, .ops = &door_ops } };
    static const struct vmm_jail_result jail = { .refused = 1 };
    struct vmm_process_message m;
    int fd;

    snprintf(dev.dev.id, sizeof(dev.dev.id), "door0");
    vm_lock_init(&dev.dev.lock, VM_RANK_DEVICE, "door");
    vm_env_host(VM_LOG_ERROR, &env);
    cr_assert_eq(vm_loop_new(&env, 0, &env.loop), 0);
    cr_assert_eq(vmm_device_child_ready(&child, &dev, &jail), 0);
    cr_assert_eq(vmm_process_receive(vmm_end, &m, &fd), 0);
    cr_assert_eq(m.ready.jail.refused, 1);
    vmm_process_message(&m, VMM_PROCESS_SET, 0, number, key_value);
    cr_assert_eq(vmm_process_send(vmm_end, &m, -1), 0);
    cr_assert_geq(vm_loop_step(env.loop, 0), 0);
    cr_assert_eq(vmm_process_receive(vmm_end, &m, &fd), 0);
    vm_watch_del(&child.watch);
    vm_loop_free(env.loop);
    vm_lock_destroy(&dev.dev.lock);
    return m;
}

Test(device_child, what_was_set_is_answered)
{
    struct vmm_process_message m = asked("rows=7", 5);

    cr_assert_eq(m.type, VMM_PROCESS_SET_DONE);
    cr_assert_eq(m.value, 5);
    cr_assert_eq(m.code, 0);
}

Test(device_child, what_its_device_refuses_is_answered_with_the_reason)
{
    struct vmm_process_message m = asked("rows=3", 6);

    cr_assert_eq(m.value, 6);
    cr_assert_eq(m.code, -ERANGE);
    cr_assert_str_eq(m.text, "door0: three is too few");
}

Test(device_child, what_cannot_be_set_is_answered_too)
{
    struct vmm_process_message m = asked("cols=3", 7);

    cr_assert_eq(m.code, -EINVAL);
    cr_assert_str_eq(m.text, "door0: cols cannot be set");
}
