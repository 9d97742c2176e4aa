/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The size of the user's terminal. */
#include "window.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/char/char.h>

/* A member of a class's configuration by name; 0 where it has none. */
static uint32_t number_of(const struct vdev_class *cls, const void *config, const char *name)
{
    const struct vm_prop *prop = vm_prop_find(cls->props, name, strlen(name));

    return prop ? *(const uint32_t *)(const void *)((const char *)config + prop->offset) : 0;
}

static bool on_terminal(const struct vdev_class *cls, const void *config)
{
    const struct vm_prop *prop = vm_prop_find(cls->props, "mode", strlen("mode"));

    return prop && prop->values == vchar_modes &&
           vchar_uses((const void *)((const char *)config + prop->offset), VCHAR_TTY);
}

/* Whether this device is a console on the terminal whose size the user has not given. */
static bool follows(const struct run_inputs *in, const struct vmm_machine_device *d)
{
    return d->cls == in->model->part[RUN_CONSOLE].cls && on_terminal(d->cls, d->config) &&
           !number_of(d->cls, d->config, "cols") && !number_of(d->cls, d->config, "rows");
}

struct finder {
    struct window *window;
    const struct run_inputs *inputs;
    size_t index; /* in inputs: devices of the platform come first and do not count */
};

static void find(void *ctx, struct vdev *dev)
{
    struct finder *f = ctx;

    if (dev->cls->kind != VDEV_PLATFORM && f->index < f->inputs->machine.device_count &&
        follows(f->inputs, &f->inputs->machine.devices[f->index++]))
        snprintf(f->window->id, sizeof(f->window->id), "%s", dev->id);
}

static int set(struct window *w, const char *key, unsigned value)
{
    char text[24];

    snprintf(text, sizeof(text), "%s=%u", key, value);
    return vmm_machine_set(w->machine, w->id, text, NULL, NULL); /* a terminal's is on a thread */
}

void vmm_window_update(struct window *w)
{
    struct winsize size;

    if (!*w->id || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
        return;
    /* A machine that has just ended refuses: then nobody looks. */
    if (size.ws_col != w->cols && !set(w, "cols", size.ws_col))
        w->cols = size.ws_col;
    if (size.ws_row != w->rows && !set(w, "rows", size.ws_row))
        w->rows = size.ws_row;
}

void vmm_window_init(struct window *w, struct vmm_machine *machine, const struct run_inputs *inputs)
{
    struct finder f = { w, inputs, 0 };

    *w = (struct window){ .machine = machine };
    vmm_machine_walk_devices(machine, find, &f);
    vmm_window_update(w);
}
