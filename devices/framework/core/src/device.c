/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What is the same for every device: its common part, the life-cycle calls with the lock around
 * them, and state by the class's table.
 *
 * reset, quiesce and remove may be asynchronous; one of them at a time:
 *
 *   [none] --vdev_reset()-->   [reset pending]   --vdev_done(0)--> [none], not broken any more
 *   [none] --vdev_quiesce()--> [quiesce pending] --vdev_done(0)--> [none], quiesced
 *                                                --vdev_done(-errno)--> [none], as before
 *   [none] --vdev_remove()-->  [remove pending]  --vdev_done(0)--> [none], to be destroyed
 *                                                --vdev_done(-errno)--> [none], still leaving
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices-core/device.h>
#include <vmm/devices-core/ledger.h>

#include "device_private.h"

const char *const vdev_bus_choices[] = { "auto", "pci", "mmio", NULL };
const char *const vdev_place_choices[] = { "auto", "process", "thread", NULL };

static const struct vm_state_field no_fields[] = { { 0 } };

void vdev_id_make(const struct vdev_class *cls, unsigned n, char ret_id[VDEV_ID_MAX + 1])
{
    /* A class name is ours and short; cut, it still leaves room for ten digits. */
    snprintf(ret_id, VDEV_ID_MAX + 1, "%.48s%u", cls->name, n);
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int vdev_id_check(const char *untrusted)
{
    size_t len = strnlen(untrusted, VDEV_ID_MAX + 1);

    if (!len || len > VDEV_ID_MAX)
        return vm_fail(-EINVAL, "id '%.64s': use 1 to %d characters", untrusted, VDEV_ID_MAX);
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(untrusted[i]) && (!i || !strchr("._-", untrusted[i])))
            return vm_fail(-EINVAL,
                           "id '%s': use letters, digits and . _ -, a letter or digit first",
                           untrusted);
    return 0;
}

void vdev_init(struct vdev *dev, const struct vdev_class *cls, const struct vdev_ops *ops,
               const struct vdev_context *context)
{
    *dev =
        (struct vdev){ .cls = cls, .ops = ops, .env = context->env, .machine = context->machine };
    snprintf(dev->id, sizeof(dev->id), "%s", context->id);
    vm_lock_init(&dev->lock, VM_RANK_DEVICE, dev->id);
    vm_list_init(&dev->node);
}

void vdev_exit(struct vdev *dev)
{
    vdev_ledger_detach(dev);
    vm_list_del(&dev->node);
    vm_lock_destroy(&dev->lock);
}

/* Under the lock: the books after a reset or quiesce that has ended. */
static void ended(struct vdev *dev, enum vdev_pending what, int code)
{
    if (code)
        return;
    if (what == VDEV_PENDING_RESET) {
        __atomic_store_n(&dev->broken, false, __ATOMIC_RELAXED);
        vdev_ledger_changed(dev);
    } else if (what == VDEV_PENDING_QUIESCE) {
        dev->quiesced = true;
        vdev_ledger_whole(dev);
    }
}

/* Under the lock: a call that may be asynchronous. The books are written first: vdev_done() may
 * come from another thread as soon as the lock is free. */
static int begin(struct vdev *dev, enum vdev_pending what, int (*call)(struct vdev *dev),
                 void (*done)(struct vdev *dev, int code))
{
    static const char *const names[] = { "none", "reset", "quiesce", "removal" };
    int rc;

    if (dev->pending != VDEV_PENDING_NONE)
        return vm_fail(-EBUSY, "%s: a %s is still under way", dev->id, names[dev->pending]);
    dev->pending = what;
    dev->done = done;
    rc = call ? call(dev) : 0;
    if (rc == -EINPROGRESS)
        return rc;
    dev->pending = VDEV_PENDING_NONE;
    dev->done = NULL;
    ended(dev, what, rc);
    return rc;
}

int vdev_reset(struct vdev *dev, void (*done)(struct vdev *dev, int code))
{
    int rc;

    vm_lock_acquire(&dev->lock);
    rc = begin(dev, VDEV_PENDING_RESET, dev->ops->reset, done);
    vm_lock_release(&dev->lock);
    return rc;
}

int vdev_quiesce(struct vdev *dev, void (*done)(struct vdev *dev, int code))
{
    int rc = 0;

    vm_lock_acquire(&dev->lock);
    if (!dev->quiesced)
        rc = begin(dev, VDEV_PENDING_QUIESCE, dev->ops->quiesce, done);
    vm_lock_release(&dev->lock);
    return rc;
}

int vdev_resume(struct vdev *dev)
{
    int rc = 0;

    vm_lock_acquire(&dev->lock);
    if (dev->pending == VDEV_PENDING_QUIESCE) {
        rc = vm_fail(-EBUSY, "%s: a quiesce is still under way", dev->id);
    } else if (dev->quiesced) {
        vdev_ledger_changed(dev); /* what it does now is in its rings again */
        rc = dev->ops->resume ? dev->ops->resume(dev) : 0;
    }
    if (!rc)
        dev->quiesced = false;
    vm_lock_release(&dev->lock);
    return rc;
}

int vdev_remove(struct vdev *dev, void (*done)(struct vdev *dev, int code))
{
    bool was;
    int rc;

    if (!dev->ops->remove)
        return vm_fail(-ENOTSUP, "%s: a %s cannot be removed while the machine runs", dev->id,
                       dev->cls->name);
    if (dev->stays)
        return vm_fail(-EBUSY, "%s: cannot be removed: %s", dev->id, dev->stays);
    vm_lock_acquire(&dev->lock);
    was = dev->leaving;
    dev->leaving = was || dev->pending == VDEV_PENDING_NONE;
    rc = begin(dev, VDEV_PENDING_REMOVE, dev->ops->remove, done);
    if (rc && rc != -EINPROGRESS)
        dev->leaving = was;
    vm_lock_release(&dev->lock);
    return rc;
}

void vdev_give_up(struct vdev *dev)
{
    vm_lock_acquire(&dev->lock);
    if (dev->pending == VDEV_PENDING_QUIESCE && dev->ops->give_up)
        dev->ops->give_up(dev);
    vm_lock_release(&dev->lock);
}

void vdev_done(struct vdev *dev, int code)
{
    enum vdev_pending what = dev->pending;
    void (*done)(struct vdev * dev, int code) = dev->done;

    assert(vm_lock_held(&dev->lock));
    assert(what != VDEV_PENDING_NONE);
    dev->pending = VDEV_PENDING_NONE;
    dev->done = NULL;
    ended(dev, what, code);
    if (done)
        done(dev, code);
}

const struct vm_state_field *vdev_state_fields(const struct vdev_class *cls)
{
    return cls->state ? cls->state : no_fields;
}

uint16_t vdev_state_version(const struct vdev_class *cls)
{
    return cls->state_version ? cls->state_version : 1;
}

void *vdev_state_now(struct vdev *dev)
{
    void *state = calloc(1, dev->cls->state_size ? dev->cls->state_size : 1);

    if (!state)
        vm_fail(-ENOMEM, "%s: no memory for %zu bytes of state", dev->id, dev->cls->state_size);
    else if (dev->cls->state && dev->ops->save)
        dev->ops->save(dev, state);
    return state;
}

int vdev_save(struct vdev *dev, struct vm_buffer *buffer)
{
    void *state;
    int rc;

    vm_lock_acquire(&dev->lock);
    state = vdev_state_now(dev);
    vm_lock_release(&dev->lock);
    if (!state)
        return -ENOMEM;
    rc = vm_state_save(vdev_state_fields(dev->cls), vdev_state_version(dev->cls), state, buffer);
    free(state);
    return rc ? vm_wrap(rc, "%s", dev->id) : 0;
}

/* Under the lock. */
static int load_state(struct vdev *dev, const struct vm_state_field *fields, const void *untrusted,
                      size_t size)
{
    void *state = vdev_state_now(dev);
    int rc;

    if (!state)
        return -ENOMEM;
    rc = vm_state_load(fields, vdev_state_version(dev->cls), untrusted, size, state,
                       dev->cls->state_size);
    if (!rc && dev->cls->state && dev->ops->load)
        rc = dev->ops->load(dev, state);
    free(state);
    return rc;
}

int vdev_state_load(struct vdev *dev, const struct vm_state_field *fields, const void *untrusted,
                    size_t size)
{
    struct vm_error error;
    int rc;

    if (dev->pending != VDEV_PENDING_NONE)
        return vm_fail(-EBUSY, "%s: a reset or quiesce is still under way", dev->id);
    rc = load_state(dev, fields, untrusted, size);
    if (!rc && dev->quiesced)
        vdev_ledger_whole(dev);
    else if (!rc)
        vdev_ledger_changed(dev);
    if (!rc)
        return 0;
    vm_error_save(vm_wrap(rc, "%s", dev->id), &error);
    (void)begin(dev, VDEV_PENDING_RESET, dev->ops->reset, NULL);
    return vm_error_restore(&error);
}

int vdev_load(struct vdev *dev, const void *untrusted, size_t size)
{
    int rc;

    vm_lock_acquire(&dev->lock);
    rc = vdev_state_load(dev, vdev_state_fields(dev->cls), untrusted, size);
    vm_lock_release(&dev->lock);
    return rc;
}

void vdev_destroy(struct vdev *dev)
{
    if (dev)
        dev->ops->destroy(dev);
}

void vdev_trouble(struct vdev *dev, const char *why)
{
    vm_log(dev->env, VM_LOG_ERROR, "%s: %s", dev->id, why);
    dev->machine->ops->broken(dev->machine, dev, why);
}

void vdev_broken(struct vdev *dev, const char *why)
{
    if (dev->broken)
        return;
    __atomic_store_n(&dev->broken, true, __ATOMIC_RELAXED);
    vdev_trouble(dev, why ? why : vm_error_text());
}

void vdev_late_writes(struct vdev *dev, bool pio, uint64_t addr, unsigned len)
{
    if (dev->machine && dev->machine->ops->late_writes)
        dev->machine->ops->late_writes(dev->machine, pio, addr, len);
}

int vdev_set(struct vdev *dev, const struct vm_prop *prop, const void *config)
{
    int rc;

    if (!dev->ops->set)
        return vm_fail(-ENOTSUP, "%s: %s cannot be changed while the machine runs", dev->id,
                       prop->name);
    vm_lock_acquire(&dev->lock);
    rc = dev->ops->set(dev, prop, config);
    vm_lock_release(&dev->lock);
    return rc;
}

int vdev_fail_refresh(const struct vdev *dev)
{
    return vm_fail(-ENOTSUP, "%s has no metrics that its guest would be asked for", dev->id);
}

int vdev_refresh(struct vdev *dev, const uint64_t **ret_answers)
{
    int rc;

    if (!dev->ops->refresh)
        return vdev_fail_refresh(dev);
    vm_lock_acquire(&dev->lock);
    rc = dev->ops->refresh(dev, ret_answers);
    vm_lock_release(&dev->lock);
    return rc;
}

static int find_row(const struct vdev *dev, const char *key_value, size_t len,
                    const struct vm_prop **ret_prop)
{
    const struct vm_prop *props = dev->cls->props;

    if (!props)
        return vm_fail(-EINVAL, "%s has no properties", dev->id);
    *ret_prop = vm_prop_find(props, key_value, len);
    return *ret_prop ? 0 : vm_prop_unknown(props, dev->id, key_value, len);
}

int vdev_config_parse(const struct vdev *dev, const char *key_value,
                      const struct vm_prop **ret_prop, void **ret_config)
{
    const char *eq = strchr(key_value, '=');
    void *config;
    int rc;

    if (!eq)
        return vm_fail(-EINVAL, "%s: '%s' is not KEY=VALUE", dev->id, key_value);
    rc = find_row(dev, key_value, (size_t)(eq - key_value), ret_prop);
    if (rc)
        return rc;
    config = calloc(1, dev->cls->config_size);
    if (!config)
        return vm_fail(-ENOMEM, "%s: out of memory", dev->id);
    rc = vm_prop_set(*ret_prop, config, dev->id, eq + 1, strlen(eq + 1));
    if (rc)
        vdev_config_free(dev, config);
    else
        *ret_config = config;
    return rc;
}

void vdev_config_free(const struct vdev *dev, void *config)
{
    vm_prop_free(dev->cls->props, config);
    free(config);
}
