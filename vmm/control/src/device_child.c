/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device's process and its VMM: names it asks for, lines it says, properties that change. */
#include "device_child.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/machine/process.h>

static struct device_child *of(void *ctx)
{
    return ctx;
}

static void child_log(void *ctx, enum vm_level level, const char *text)
{
    struct vmm_process_message m;

    if (level > of(ctx)->level)
        return;
    vmm_process_message(&m, VMM_PROCESS_LOG, 0, level, text);
    (void)vmm_process_send(of(ctx)->channel, &m, -1); /* nobody to tell */
}

static int receive(int channel, struct vmm_process_message *m, int *ret_fd)
{
    struct pollfd p = { .fd = channel, .events = POLLIN };
    int rc;

    while ((rc = vmm_process_receive(channel, m, ret_fd)) == -EAGAIN)
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return -errno;
    return rc;
}

static int child_open(void *ctx, const char *name, unsigned how)
{
    struct vmm_process_message m;
    int fd, rc;

    if (of(ctx)->dev)
        return vm_fail(-EACCES, "%s: names are opened when a device is made", name);
    if (strlen(name) >= VMM_PROCESS_TEXT_MAX)
        return vm_fail(-ENAMETOOLONG, "%.64s...: longer than %d bytes", name,
                       VMM_PROCESS_TEXT_MAX - 1);
    vmm_process_message(&m, VMM_PROCESS_OPEN, 0, how, name);
    rc = vmm_process_send(of(ctx)->channel, &m, -1);
    if (!rc)
        rc = receive(of(ctx)->channel, &m, &fd);
    if (rc)
        return vm_fail(rc, "%s: the VMM does not answer", name);
    if (m.type == VMM_PROCESS_OPENED && !m.code && fd >= 0)
        return fd;
    vm_close(&fd);
    return vm_fail(m.code < 0 ? m.code : -EPROTO, "%s", m.text);
}

void vmm_device_child_init(struct device_child *c, int channel, enum vm_level level,
                           struct vm_env *env)
{
    *c = (struct device_child){ .channel = channel, .level = level, .env = env };
    if (channel < 0)
        return;
    env->ctx = c;
    env->open = child_open;
    env->keeps_names = true;
    env->log = child_log;
}

/* It was checked by the VMM; a device may still refuse it. */
static int set(struct vdev *dev, const char *key_value)
{
    const struct vm_prop *prop;
    void *config;
    int rc = vdev_config_parse(dev, key_value, &prop, &config);

    if (rc)
        return rc;
    rc = prop->live ? vdev_set(dev, prop, config)
                    : vm_fail(-EINVAL, "%s: %s cannot be set", dev->id, prop->name);
    vdev_config_free(dev, config);
    return rc;
}

static int answer(const struct device_child *c, uint32_t number, int code)
{
    struct vmm_process_message m;

    vmm_process_message(&m, VMM_PROCESS_SET_DONE, code, number, code ? vm_error_text() : "");
    return vmm_process_send(c->channel, &m, -1);
}

static void channel_ready(struct vm_watch *watch, uint32_t events)
{
    struct device_child *c = container_of(watch, struct device_child, watch);
    struct vmm_process_message m;
    int fd, rc = vmm_process_receive(c->channel, &m, &fd);

    (void)events;
    vm_close(&fd);
    if (rc == -EAGAIN)
        return;
    if (rc || m.type != VMM_PROCESS_SET) {
        vm_loop_stop(c->env->loop); /* the VMM is gone, or not ours */
        return;
    }
    if (answer(c, m.value, set(c->dev, m.text)))
        vm_loop_stop(c->env->loop);
}

int vmm_device_child_ready(struct device_child *c, struct virtio_dev *dev,
                           const struct vmm_jail_result *jail)
{
    struct vmm_process_message m = { .type = VMM_PROCESS_READY };
    int rc;

    c->dev = &dev->dev;
    if (c->channel < 0)
        return 0;
    m.ready.jail = *jail;
    m.ready.shape.id = dev->id;
    m.ready.shape.queues = dev->queues;
    m.ready.shape.config_bytes = dev->config_bytes;
    m.ready.shape.chosen = dev->chosen;
    for (uint16_t n = 0; n < dev->queues && n < VHOST_QUEUES_MAX; n++)
        m.ready.shape.queue_size[n] = dev->queue[n].size_max;
    rc = vmm_process_send(c->channel, &m, -1);
    if (rc)
        return vm_fail(rc, "the VMM does not take what its device's process says");
    return vm_watch_add(c->env->loop, &c->watch, c->channel, EPOLLIN, channel_ready);
}

void vmm_device_child_failed(struct device_child *c, int code)
{
    struct vmm_process_message m;

    if (c->channel < 0)
        return;
    vmm_process_message(&m, VMM_PROCESS_FAILED, code, 0, vm_error_text());
    c->failed = !vmm_process_send(c->channel, &m, -1);
}
