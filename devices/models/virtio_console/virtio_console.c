/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Console device (VIRTIO 1.2, section 5.3): one port, queue 0 to the guest, queue 1 from it; with ports= several
 * (virtio_console_private.h), and the parts that they have in common: configuration, config space, life.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "virtio_console_private.h"

extern const struct vdev_class virtio_console_class;

/* Config space (5.3.4). */
struct console_space {
    struct le16 cols, rows;
    struct le32 max_nr_ports;
    struct le32 emerg_wr;
};

/* ---- queues ---- */

static struct console_port *port_of(struct console *con, uint16_t n)
{
    return &con->port[n < CONSOLE_CONTROL ? 0 : (n - 2) / 2];
}

static int console_kick(struct virtio_dev *dev, uint16_t n)
{
    struct console *con = console_of(dev);
    bool control = n == CONSOLE_CONTROL || n == CONSOLE_CONTROL + CONSOLE_TRANSMIT;

    if (n >= CONSOLE_CONTROL && !console_multiport(con))
        return 0; /* 5.3.2: there is no such queue */
    if (control)
        return n == CONSOLE_CONTROL ? virtio_console_control_send(con)
                                    : virtio_console_control_take(con);
    return n % 2 == CONSOLE_RECEIVE ? virtio_console_port_receive(port_of(con, n))
                                    : virtio_console_port_transmit(port_of(con, n));
}

/* ---- config space ---- */

static void show_size(struct console *con)
{
    struct console_space *space = (struct console_space *)(void *)con->dev.config;

    space->cols = le16_make(con->s.cols);
    space->rows = le16_make(con->s.rows);
}

/* 5.3.5: one byte to the output, also before the driver is ready. */
static void console_config_write(struct virtio_dev *dev, uint32_t offset, const uint8_t *data,
                                 uint32_t len)
{
    if (offset == offsetof(struct console_space, emerg_wr) && len)
        vchar_write(console_of(dev)->port[0].chr, data, 1, true);
}

static int console_set(struct virtio_dev *dev, const struct vm_prop *prop, const void *config)
{
    const struct console_config *c = config;
    struct console *con = console_of(dev);

    if (prop->offset == offsetof(struct console_config, cols))
        con->s.cols = (uint16_t)c->cols;
    else if (prop->offset == offsetof(struct console_config, rows))
        con->s.rows = (uint16_t)c->rows;
    else
        return vm_fail(-ENOTSUP,
                       "%s: %s cannot be changed while the machine runs; cols and rows can",
                       dev->dev.id, prop->name);
    show_size(con);
    virtio_config_changed(dev);
    if (con->port[0].s->ready) /* Linux with several ports looks at the message only */
        virtio_console_owe(&con->port[0], CONSOLE_OWE_RESIZE);
    return 0;
}

/* ---- life ---- */

static void console_reset(struct virtio_dev *dev)
{
    struct console *con = console_of(dev);

    for (unsigned i = 0; i < con->ports; i++)
        virtio_console_port_reset(&con->port[i]);
}

static void console_save(struct virtio_dev *dev, void *ret_state)
{
    memcpy(ret_state, &console_of(dev)->s, sizeof(struct console_state));
}

/* The codec has checked the lengths of rx, and a chain shorter than tx_done is one that has gone. */
static int console_load(struct virtio_dev *dev, const void *untrusted)
{
    const struct console_state *s = untrusted;
    struct console *con = console_of(dev);

    if (s->more != con->ports - 1)
        return vm_fail(-EINVAL, "%s: a state of %u more ports, but it has %u", dev->dev.id, s->more,
                       con->ports - 1);
    for (uint32_t i = 0; i <= s->more; i++)
        if (s->port[i].owed & ~CONSOLE_OWE_ALL)
            return vm_fail(-EINVAL, "%s: messages %#x of port %u", dev->dev.id, s->port[i].owed, i);
    memcpy(&con->s, s, sizeof(con->s));
    show_size(con);
    return 0;
}

static void console_destroy(struct virtio_dev *dev)
{
    struct console *con = console_of(dev);

    for (unsigned i = 0; i < con->ports; i++) {
        vm_timer_cancel(&con->port[i].stuck);
        vchar_free(con->port[i].chr);
    }
    virtio_exit(dev);
    vdev_free(con);
}

static const struct virtio_ops ops = {
    .kick = console_kick,
    .reset = console_reset,
    .config_write = console_config_write,
    .save = console_save,
    .load = console_load,
    .set = console_set,
    .destroy = console_destroy,
};

/* ---- birth ---- */

static const struct console_port_config *more_ports(const struct console_config *config)
{
    return config->ports.items;
}

/* It becomes the name of a link in the guest's /dev/virtio-ports. */
static int check_name(const char *name)
{
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return vm_fail(-EINVAL, "name=%s is no name of a port", name);
    for (; *name; name++)
        if (*name <= ' ' || *name > '~' || *name == '/')
            return vm_fail(-EINVAL, "name=: letters, digits and signs are possible, but no spaces "
                                    "and no '/'");
    return 0;
}

static int check_port(const struct console_config *config, uint32_t n)
{
    const struct console_port_config *port = more_ports(config);
    bool tty = vchar_uses(&port[n].chr, VCHAR_TTY);
    int rc = vchar_check(&port[n].chr);

    if (!rc && vchar_uses(&port[n].chr, VCHAR_OFF))
        rc = vm_fail(
            -EINVAL,
            "it goes nowhere: give mode=tty, mode=pty, mode=null, file=PATH or socket=PATH");
    if (!rc && port[n].name)
        rc = check_name(port[n].name);
    if (!rc && tty && vchar_uses(&config->chr, VCHAR_TTY))
        rc = vm_fail(-EINVAL, "mode=tty: the first port is the terminal");
    for (uint32_t i = 0; !rc && i < n; i++) {
        if (port[i].name && port[n].name && !strcmp(port[i].name, port[n].name))
            rc = vm_fail(-EINVAL, "name=%s: ports[%u] has that name", port[n].name, i);
        else if (tty && vchar_uses(&port[i].chr, VCHAR_TTY))
            rc = vm_fail(-EINVAL, "mode=tty: ports[%u] is the terminal", i);
    }
    return rc ? vm_wrap(rc, "ports[%u]", n) : 0;
}

static int check_ports(const struct console_config *config, const char *id)
{
    int rc = 0;

    for (uint32_t i = 0; !rc && i < config->ports.count; i++)
        rc = check_port(config, i);
    return rc ? vm_wrap(rc, "%s", id) : 0;
}

static int open_port(struct console *con, const struct console_config *config, unsigned n)
{
    const struct console_port_config *more = n ? &more_ports(config)[n - 1] : NULL;
    struct console_port *port = &con->port[n];
    char label[VDEV_ID_MAX + 16];
    struct vchar *chr;
    int rc;

    port->con = con;
    port->number = (uint16_t)n;
    port->s = &con->s.port[n];
    port->console = !n || more->console;
    if (more && more->name)
        memcpy(port->name, more->name, strnlen(more->name, CONSOLE_NAME_MAX));
    con->ports = n + 1;
    if (more)
        snprintf(label, sizeof(label), "%s: ports[%u]", con->dev.dev.id, n - 1);
    else
        snprintf(label, sizeof(label), "%s", con->dev.dev.id);
    rc = vchar_new(con->dev.dev.env, label, more ? &more->chr : &config->chr,
                   &virtio_console_chr_ops, port, &chr);
    if (rc)
        return rc;
    port->chr = chr;
    port->connections = vchar_connections(chr); /* a file's is there from the start */
    if (vchar_has_keys(chr))
        con->dev.dev.stays = "it reads the terminal, whose escape key stops the machine";
    return 0;
}

static int open_ports(struct console *con, const struct console_config *config)
{
    int rc = check_ports(config, con->dev.dev.id);

    for (unsigned n = 0; !rc && n <= config->ports.count; n++)
        rc = open_port(con, config, n);
    con->s.more = config->ports.count;
    return rc;
}

static int init(struct console *con, const struct vdev_context *context)
{
    const struct console_config *config = context->config;
    uint32_t more = config->ports.count;
    uint16_t sizes[CONSOLE_QUEUES];
    const struct virtio_setup setup = { .id = VIRTIO_ID_CONSOLE,
                                        .features = CONSOLE_F_SIZE | CONSOLE_F_EMERG_WRITE |
                                                    (more ? CONSOLE_F_MULTIPORT : 0),
                                        .queue_sizes = sizes,
                                        .queues = (uint16_t)(more ? 2 * (1 + more) + 2 : 2),
                                        .config_bytes = sizeof(struct console_space),
                                        .options = &config->virtio };

    for (unsigned n = 0; n < CONSOLE_QUEUES; n++)
        sizes[n] = n % 2 == CONSOLE_RECEIVE ? CONSOLE_RECEIVE_SIZE : CONSOLE_TRANSMIT_SIZE;
    return virtio_init(&con->dev, &virtio_console_class, &ops, context, &setup);
}

static int console_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    const struct console_config *config = context->config;
    struct console *con = vdev_alloc(context, sizeof(*con));
    struct console_space *space;
    int rc;

    if (!con)
        return vm_fail(-ENOMEM, "%s: out of memory", context->id);
    rc = init(con, context);
    if (rc) {
        vdev_free(con);
        return rc;
    }
    con->limit = (struct vm_ratelimit){ .burst = 10 };
    con->s.cols = (uint16_t)config->cols;
    con->s.rows = (uint16_t)config->rows;
    show_size(con);
    space = (struct console_space *)(void *)con->dev.config;
    space->max_nr_ports = le32_make(config->ports.count ? 1 + config->ports.count : 0);
    rc = open_ports(con, config);
    if (rc) {
        console_destroy(&con->dev);
        return rc;
    }
    *ret_dev = &con->dev.dev;
    return 0;
}

static const struct vm_prop port_props[] = {
    { .name = "name",
      .type = VM_PROP_STRING,
      .offset = offsetof(struct console_port_config, name),
      .max = CONSOLE_NAME_MAX,
      .help = "name of the port in the guest: /dev/virtio-ports/NAME in Linux" },
    { .name = "console",
      .type = VM_PROP_BOOL,
      .offset = offsetof(struct console_port_config, console),
      .help = "it is a console, too: hvc1 and so on in Linux" },
    VCHAR_PROPS(struct console_port_config, chr),
    { 0 },
};

static const struct vm_prop props[] = {
    VDEV_PROPS(struct console_config),
    VIRTIO_PROPS(struct console_config),
    VCHAR_PROPS(struct console_config, chr),
    { .name = "cols",
      .type = VM_PROP_U32,
      .live = true,
      .offset = offsetof(struct console_config, cols),
      .max = UINT16_MAX,
      .help = "width of the terminal in characters; 0: not known" },
    { .name = "rows",
      .type = VM_PROP_U32,
      .live = true,
      .offset = offsetof(struct console_config, rows),
      .max = UINT16_MAX,
      .help = "height of the terminal in characters; 0: not known" },
    { .name = "ports",
      .type = VM_PROP_OBJECTS,
      .offset = offsetof(struct console_config, ports),
      .props = port_props,
      .element_size = sizeof(struct console_port_config),
      .max = CONSOLE_MORE_PORTS,
      .help = "further ports, each by name=, console= and the keys of where its bytes go: mode=, "
              "file=, "
              "socket=, append= and also=" },
    { 0 },
};

#define PORT(t, kind, member, version)                                                     \
    {                                                                                      \
        .tag = (t), .type = (kind), .offset = offsetof(struct console_port_state, member), \
        .since = (version)                                                                 \
    }
static const struct vm_state_field port_fields[] = {
    PORT(1, VM_STATE_U16, tx_at, 2),
    PORT(2, VM_STATE_U64, tx_done, 2),
    { .tag = 3,
      .type = VM_STATE_BYTES,
      .since = 2,
      .offset = offsetof(struct console_port_state, rx),
      .max = CONSOLE_RX_BYTES,
      .count_offset = offsetof(struct console_port_state, rx_len) },
    PORT(4, VM_STATE_U8, owed, 2),
    PORT(5, VM_STATE_BOOL, ready, 2),
    PORT(6, VM_STATE_BOOL, guest_open, 2),
    PORT(7, VM_STATE_BOOL, told_open, 2),
    { 0 },
};
#define FIELD(t, kind, member, version)                                               \
    {                                                                                 \
        .tag = (t), .type = (kind), .offset = offsetof(struct console_state, member), \
        .since = (version)                                                            \
    }
/* The first port's fields stand where they stood when there was no other. */
static const struct vm_state_field state_fields[] = {
    FIELD(1, VM_STATE_U16, cols, 1),
    FIELD(2, VM_STATE_U16, rows, 1),
    FIELD(3, VM_STATE_U16, port[0].tx_at, 1),
    FIELD(4, VM_STATE_U64, port[0].tx_done, 1),
    { .tag = 5,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct console_state, port[0].rx),
      .max = CONSOLE_RX_BYTES,
      .count_offset = offsetof(struct console_state, port[0].rx_len) },
    FIELD(6, VM_STATE_U8, port[0].owed, 2),
    FIELD(7, VM_STATE_BOOL, port[0].ready, 2),
    FIELD(8, VM_STATE_BOOL, port[0].guest_open, 2),
    FIELD(9, VM_STATE_BOOL, port[0].told_open, 2),
    { .tag = 10,
      .type = VM_STATE_LIST,
      .since = 2,
      .offset = offsetof(struct console_state, port[1]),
      .max = CONSOLE_MORE_PORTS,
      .count_offset = offsetof(struct console_state, more),
      .element_size = sizeof(struct console_port_state),
      .fields = port_fields },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "tx_bytes", offsetof(struct console, count.tx), "bytes from the guest" },
    { "rx_bytes", offsetof(struct console, count.rx), "bytes to the guest" },
    { "tx_dropped", offsetof(struct console, count.dropped), "bytes that nobody read in time" },
    { "also_dropped", offsetof(struct console, count.also_dropped),
      "bytes that a further place (also=) did not take in time" },
    { "rx_dropped", offsetof(struct console, count.rx_dropped),
      "keys typed while the guest read none" },
    { "control", offsetof(struct console, count.control), "messages of the driver about ports" },
    { "control_bad", offsetof(struct console, count.control_bad),
      "messages of the driver that made no sense, or told of a failure" },
    { 0 },
};

static bool has_keys(const struct vchar_config *chr)
{
    return vchar_uses(chr, VCHAR_TTY) || vchar_uses(chr, VCHAR_PTY);
}

/* Ctrl-A x at a terminal stops the machine, which no process of a device may; and the user's own terminal is read for it whatever becomes
 * of a device. */
static const char *thread_reason(const void *config)
{
    const struct console_config *c = config;
    bool keys = has_keys(&c->chr);

    for (uint32_t i = 0; i < c->ports.count; i++)
        keys = keys || has_keys(&more_ports(c)[i].chr);

    return keys ? "its escape key stops the machine, which no process of a device may" : NULL;
}

static const struct vm_jail_rule jail[] = {
    VM_JAIL("accept4"), /* a client of the socket */
    VM_JAIL("ppoll"), /* is the one before it still there */
    { 0 },
};

const struct vdev_class virtio_console_class = {
    .name = "virtio-console",
    .summary = "console, hvc0",
    .props = props,
    .config_size = sizeof(struct console_config),
    .kind = VDEV_VIRTIO,
    .backend = VDEV_BACKEND_CHAR,
    .placements = VDEV_THREAD | VDEV_PROCESS | VDEV_FOREIGN,
    .state = state_fields,
    .state_size = sizeof(struct console_state),
    .state_version = 2,
    .replay = VDEV_REPLAY_MARKED,
    .ledger = state_fields,
    .metrics = metrics,
    .thread_reason = thread_reason,
    .jail = jail,
    .create = console_create,
};
