/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Keyboard controller of a PC without a keyboard (IBM PC AT Technical Reference, "Keyboard controller"): for machines
 * without ACPI, whose guests restart the machine by its reset line.
 *
 * The output buffer never gets empty: without a reply in it, it holds what the AT's controller puts there when the
 * keyboard does not finish its byte, 0xff with the receive time-out bit. So nobody ever waits for a byte. A driver that
 * empties the buffer first, as Linux does (16 bytes), finds that it cannot and gives up in under a millisecond; with an
 * empty buffer it would go on to ask a keyboard that is not there, half a second for each question. The input buffer is
 * always empty, so that a restart is not held up either.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices/classes.h>

extern const struct vdev_class i8042_class;

enum {
    STATUS_OUTPUT_FULL = 1 << 0,
    STATUS_SYSTEM = 1 << 2, /* shows CONFIG_SYSTEM: the self-test was passed */
    STATUS_COMMAND = 1 << 3, /* the last write was a command, not data */
    STATUS_NOT_LOCKED = 1 << 4,
    STATUS_RECEIVE_TIMEOUT = 1 << 6,

    COMMAND_READ_CONFIG = 0x20,
    COMMAND_WRITE_CONFIG = 0x60,
    COMMAND_SELF_TEST = 0xaa,
    COMMAND_INTERFACE_TEST = 0xab,
    COMMAND_KEYBOARD_OFF = 0xad,
    COMMAND_KEYBOARD_ON = 0xae,
    COMMAND_READ_INPUT = 0xc0,
    COMMAND_READ_OUTPUT = 0xd0,
    COMMAND_WRITE_OUTPUT = 0xd1,
    COMMAND_PULSE =
        0xf0, /* to 0xff: pulses the bits of the output port whose bits 0 to 3 are clear here */

    CONFIG_SYSTEM = 1 << 2,
    CONFIG_KEYBOARD_OFF = 1 << 4,
    OUTPUT_NO_RESET = 1 << 0, /* the line is low-active */
    OUTPUT_POWER_ON = 0xd3, /* data and clock released, output buffer full, A20, no reset */
    INPUT_PORT = 0xa0, /* keyboard not locked, no manufacturing jumper */

    SELF_TEST_PASSED = 0x55,
    INTERFACE_GOOD = 0x00, /* lines are high, as those of an empty socket */
    NO_BYTE = 0xff,
};

struct i8042_state {
    uint8_t config, output;
    uint8_t command; /* that waits for its data byte; 0: none */
    uint8_t reply;
    bool replied; /* reply has not been read */
    bool last_command;
};

struct i8042 {
    struct vdev dev;
    struct vdev_region data_port, command_port;
    struct vdev_bus *pio;
    struct i8042_state s;
    struct {
        uint64_t commands;
    } count;
};

static const struct i8042_state power_on = { .config = CONFIG_SYSTEM, .output = OUTPUT_POWER_ON };

static void reply(struct i8042 *k, uint8_t v)
{
    k->s.reply = v;
    k->s.replied = true;
}

static void set_output(struct i8042 *k, uint8_t v)
{
    k->s.output = v | OUTPUT_NO_RESET;
    if (!(v & OUTPUT_NO_RESET))
        vdev_event(&k->dev, VDEV_EVENT_RESET, 0);
}

static void command(struct i8042 *k, uint8_t v)
{
    vm_count(&k->count.commands, 1);
    k->s.last_command = true;
    k->s.command = 0;
    switch (v) {
    case COMMAND_READ_CONFIG: reply(k, k->s.config); return;
    case COMMAND_WRITE_CONFIG:
    case COMMAND_WRITE_OUTPUT: k->s.command = v; return;
    case COMMAND_SELF_TEST:
        k->s.config |= CONFIG_SYSTEM;
        reply(k, SELF_TEST_PASSED);
        return;
    case COMMAND_INTERFACE_TEST: reply(k, INTERFACE_GOOD); return;
    case COMMAND_KEYBOARD_OFF: k->s.config |= CONFIG_KEYBOARD_OFF; return;
    case COMMAND_KEYBOARD_ON: k->s.config &= (uint8_t)~CONFIG_KEYBOARD_OFF; return;
    case COMMAND_READ_INPUT: reply(k, INPUT_PORT); return;
    case COMMAND_READ_OUTPUT: reply(k, k->s.output); return;
    default: break;
    }
    if (v >= COMMAND_PULSE && !(v & OUTPUT_NO_RESET))
        vdev_event(&k->dev, VDEV_EVENT_RESET, 0);
}

static int command_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    (void)offset;
    (void)len;
    command(self, data[0]);
    return 0;
}

static int status_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    const struct i8042 *k = self;

    (void)offset;
    (void)len;
    data[0] =
        STATUS_OUTPUT_FULL | STATUS_NOT_LOCKED | (k->s.config & CONFIG_SYSTEM ? STATUS_SYSTEM : 0) |
        (k->s.last_command ? STATUS_COMMAND : 0) | (k->s.replied ? 0 : STATUS_RECEIVE_TIMEOUT);
    return 0;
}

/* A byte that no command waits for goes to the keyboard, which is not there. */
static int data_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct i8042 *k = self;
    uint8_t waiting = k->s.command;

    (void)offset;
    (void)len;
    k->s.last_command = false;
    k->s.command = 0;
    if (waiting == COMMAND_WRITE_CONFIG)
        k->s.config = data[0];
    else if (waiting == COMMAND_WRITE_OUTPUT)
        set_output(k, data[0]);
    return 0;
}

static int data_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct i8042 *k = self;

    (void)offset;
    (void)len;
    data[0] = k->s.replied ? k->s.reply : NO_BYTE;
    k->s.reply = 0;
    k->s.replied = false;
    return 0;
}

/* Both regions are one byte wide, so that each access is. */
static const struct vdev_region_ops data_ops = { .read = data_read, .write = data_write };
static const struct vdev_region_ops command_ops = { .read = status_read, .write = command_write };

static int i8042_reset(struct vdev *dev)
{
    container_of(dev, struct i8042, dev)->s = power_on;
    return 0;
}

static void i8042_save(struct vdev *dev, void *ret_state)
{
    memcpy(ret_state, &container_of(dev, struct i8042, dev)->s, sizeof(struct i8042_state));
}

static int i8042_load(struct vdev *dev, const void *untrusted)
{
    const struct i8042_state *s = untrusted;

    if (s->command && s->command != COMMAND_WRITE_CONFIG && s->command != COMMAND_WRITE_OUTPUT)
        return vm_fail(-EINVAL, "command %#x does not wait for data", s->command);
    if (!(s->output & OUTPUT_NO_RESET) || (s->reply && !s->replied))
        return vm_fail(-EINVAL, "output port %#x, reply %#x cannot be", s->output, s->reply);
    container_of(dev, struct i8042, dev)->s = *s;
    return 0;
}

static void i8042_destroy(struct vdev *dev)
{
    struct i8042 *k = container_of(dev, struct i8042, dev);

    if (k->command_port.on_bus)
        vdev_bus_del(k->pio, &k->command_port, NULL, NULL);
    if (k->data_port.on_bus)
        vdev_bus_del(k->pio, &k->data_port, NULL, NULL);
    vdev_exit(dev);
    free(k);
}

static const struct vdev_ops ops = {
    .reset = i8042_reset,
    .save = i8042_save,
    .load = i8042_load,
    .destroy = i8042_destroy,
};

static int add_port(struct i8042 *k, struct vdev_region *region, uint64_t port,
                    const struct vdev_region_ops *region_ops)
{
    *region = (struct vdev_region){ .name = k->dev.id,
                                    .base = port,
                                    .size = 1,
                                    .ops = region_ops,
                                    .self = k,
                                    .lock = &k->dev.lock,
                                    .dev = &k->dev,
                                    .priority = 1 };
    return vdev_bus_add(k->pio, region);
}

static int i8042_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    struct i8042 *k = calloc(1, sizeof(*k));
    int rc;

    if (!k)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_init(&k->dev, &i8042_class, &ops, context);
    k->pio = context->pio;
    k->s = power_on;
    rc = add_port(k, &k->data_port, context->resources[0].base, &data_ops);
    if (!rc)
        rc = add_port(k, &k->command_port, context->resources[1].base, &command_ops);
    if (rc) {
        i8042_destroy(&k->dev);
        return rc;
    }
    *ret_dev = &k->dev;
    return 0;
}

static const struct vm_state_field state_fields[] = {
    { .tag = 1, .type = VM_STATE_U8, .offset = offsetof(struct i8042_state, config) },
    { .tag = 2, .type = VM_STATE_U8, .offset = offsetof(struct i8042_state, output) },
    { .tag = 3, .type = VM_STATE_U8, .offset = offsetof(struct i8042_state, command) },
    { .tag = 4, .type = VM_STATE_U8, .offset = offsetof(struct i8042_state, reply) },
    { .tag = 5, .type = VM_STATE_BOOL, .offset = offsetof(struct i8042_state, replied) },
    { .tag = 6, .type = VM_STATE_BOOL, .offset = offsetof(struct i8042_state, last_command) },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "commands", offsetof(struct i8042, count.commands), "commands to the controller" },
    { 0 },
};

const struct vdev_class i8042_class = {
    .name = "i8042",
    .summary = "keyboard controller without keyboard: the reset line of machines without ACPI",
    .kind = VDEV_PLATFORM,
    .placements = VDEV_THREAD,
    .internal = true,
    .state = state_fields,
    .state_size = sizeof(struct i8042_state),
    .state_version = 1,
    .metrics = metrics,
    .create = i8042_create,
};
