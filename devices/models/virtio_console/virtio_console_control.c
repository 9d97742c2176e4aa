/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Messages about ports (VIRTIO 1.2, section 5.3.6.2), between device and driver:
 *
 *   driver: DEVICE_READY         device: PORT_ADD, of each port
 *   driver: PORT_READY           device: CONSOLE_PORT, PORT_NAME, RESIZE, PORT_OPEN, as far as they are so
 *   driver: PORT_OPEN 1, 0       somebody in the guest has opened or closed the port
 *                                device: PORT_OPEN 1, 0: somebody has come to the other side, or gone; RESIZE
 *
 * What the device has to say is not kept as messages but as what is owed of each port: it says how things are when the driver has
 * a buffer for it, and needs no more memory for a driver that has none. A message goes out once or, where the device's process
 * dies right after it, twice: Linux takes none of them amiss.
 */
#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

#include "virtio_console_private.h"

enum {
    DEVICE_READY = 0,
    PORT_ADD = 1,
    PORT_READY = 3,
    CONSOLE_PORT = 4,
    RESIZE = 5,
    PORT_OPEN = 6,
    PORT_NAME = 7,
};

struct message {
    struct le32 id;
    struct le16 event, value;
};
struct resize {
    struct le16 cols, rows;
};

/* ---- to the guest ---- */

static size_t make(const struct console_port *port, unsigned what,
                   uint8_t ret_bytes[static sizeof(struct message) + CONSOLE_NAME_MAX])
{
    static const struct {
        unsigned what;
        uint16_t event, value;
    } rows[] = {
        { CONSOLE_OWE_ADD, PORT_ADD, 1 },    { CONSOLE_OWE_CONSOLE, CONSOLE_PORT, 1 },
        { CONSOLE_OWE_NAME, PORT_NAME, 1 },  { CONSOLE_OWE_RESIZE, RESIZE, 0 },
        { CONSOLE_OWE_CLOSE, PORT_OPEN, 0 }, { CONSOLE_OWE_OPEN, PORT_OPEN, 1 },
    };
    const struct console_state *s = &port->con->s;
    const struct resize size = { le16_make(s->cols), le16_make(s->rows) };
    struct message m = { .id = le32_make(port->number) };
    size_t more = 0;

    for (size_t i = 0; i < VM_ARRAY_SIZE(rows); i++) {
        if (rows[i].what == what) {
            m.event = le16_make(rows[i].event);
            m.value = le16_make(rows[i].value);
        }
    }
    memcpy(ret_bytes, &m, sizeof(m));
    if (what == CONSOLE_OWE_NAME) /* no byte ends it: the length does */
        memcpy(ret_bytes + sizeof(m), port->name, more = strlen(port->name));
    if (what == CONSOLE_OWE_RESIZE)
        memcpy(ret_bytes + sizeof(m), &size, more = sizeof(size));
    return sizeof(m) + more;
}

/* The next one that is owed; NULL: none is. */
static struct console_port *next_owed(struct console *con, unsigned *ret_what)
{
    for (unsigned i = 0; i < con->ports; i++) {
        unsigned owed = con->port[i].s->owed;

        if (owed) {
            *ret_what = owed & ~(owed - 1); /* the lowest bit */
            return &con->port[i];
        }
    }
    return NULL;
}

/* One that has no room comes back empty: the driver may have larger ones. */
static bool say(const struct console_port *port, unsigned what, struct vq *q, struct vq_chain *c)
{
    uint8_t bytes[sizeof(struct message) + CONSOLE_NAME_MAX];

    if (vq_push(q, c, bytes, make(port, what, bytes)) == 0)
        return true;
    c->pushed = 0;
    return false;
}

int virtio_console_control_send(struct console *con)
{
    struct vq *q = &con->dev.queue[CONSOLE_CONTROL];
    struct console_port *port;
    struct vq_chain c;
    int rc = 0, done = 0;
    unsigned what;

    /* Who is at the other side may have changed while the device was at rest, or was another process: this queue is looked at after that. */
    for (unsigned i = 0; i < con->ports; i++)
        virtio_console_settle_open(&con->port[i]);
    while (done < CONSOLE_CHAINS_PER_KICK && (port = next_owed(con, &what)) &&
           (rc = vq_next(q, &c)) > 0) {
        bool said = say(port, what, q, &c);

        rc = vq_done(q, &c);
        if (rc)
            break;
        if (said) {
            port->s->owed &= (uint8_t)~what;
            vdev_ledger_changed(&con->dev.dev);
        }
        done++;
    }
    if (done == CONSOLE_CHAINS_PER_KICK)
        virtio_kick_later(&con->dev, CONSOLE_CONTROL);
    if (done)
        virtio_notify(&con->dev, CONSOLE_CONTROL);
    return rc < 0 ? rc : 0;
}

void virtio_console_owe(struct console_port *port, unsigned what)
{
    port->s->owed |= (uint8_t)what;
    vdev_ledger_changed(&port->con->dev.dev);
    virtio_kick_later(&port->con->dev, CONSOLE_CONTROL);
}

void virtio_console_settle_open(struct console_port *port)
{
    uint64_t connections = port->chr ? vchar_connections(port->chr) : 0;
    bool there = port->chr && vchar_connected(port->chr);
    bool another = there && port->s->told_open && connections != port->connections;

    if (!port->s->ready || (there == port->s->told_open && !another))
        return;
    port->s->told_open = there;
    port->connections = connections;
    if (another)
        virtio_console_owe(port, CONSOLE_OWE_CLOSE);
    if (!there)
        port->s->owed &= (uint8_t)~CONSOLE_OWE_OPEN;
    virtio_console_owe(port, there ? CONSOLE_OWE_OPEN : CONSOLE_OWE_CLOSE);
}

/* ---- from the guest ---- */

static void port_ready(struct console_port *port)
{
    const struct console_state *s = &port->con->s;
    unsigned owed = 0;

    port->s->ready = true;
    if (port->console)
        owed |= CONSOLE_OWE_CONSOLE;
    if (*port->name)
        owed |= CONSOLE_OWE_NAME;
    if (!port->number && (s->cols || s->rows))
        owed |= CONSOLE_OWE_RESIZE;
    virtio_console_owe(port, owed);
    port->s->told_open = false; /* a driver knows nothing of a port that is new to it */
    port->s->owed &= (uint8_t) ~(CONSOLE_OWE_OPEN | CONSOLE_OWE_CLOSE);
    virtio_console_settle_open(port);
}

/* Input that waits for it outside is asked for by the receiving queue. */
static void port_open(struct console_port *port, bool open)
{
    port->s->guest_open = open;
    vdev_ledger_changed(&port->con->dev.dev);
    if (open)
        virtio_kick_later(&port->con->dev, console_queue_of(port, CONSOLE_RECEIVE));
}

static void refuse(struct console *con, const struct message *m, const char *why)
{
    vm_count(&con->count.control_bad, 1);
    vm_log_limited(con->dev.dev.env, &con->limit, VM_LOG_WARN,
                   "%s: driver: message %u with value %u about port %u: %s", con->dev.dev.id,
                   le16_get(m->event), le16_get(m->value), le32_get(m->id), why);
}

static void device_ready(struct console *con, const struct message *m)
{
    if (le16_get(m->value) != 1) {
        refuse(con, m, "it could not make itself ready");
        return;
    }
    for (unsigned i = 0; i < con->ports; i++)
        virtio_console_owe(&con->port[i], CONSOLE_OWE_ADD);
}

/* A copy of what the driver wrote: nobody changes it while it is looked at. */
static void take(struct console *con, const struct message *m)
{
    unsigned event = le16_get(m->event), value = le16_get(m->value);
    uint32_t id = le32_get(m->id);

    vm_count(&con->count.control, 1);
    if (event == DEVICE_READY) /* about no port */
        device_ready(con, m);
    else if (event != PORT_READY && event != PORT_OPEN)
        refuse(con, m, "it has no such message");
    else if (id >= con->ports)
        refuse(con, m, "there is no such port");
    else if (value > 1)
        refuse(con, m, "0 or 1 is needed");
    else if (event == PORT_OPEN)
        port_open(&con->port[id], value);
    else if (value)
        port_ready(&con->port[id]);
    else
        refuse(con, m, "it could not make the port");
}

int virtio_console_control_take(struct console *con)
{
    const uint16_t n = CONSOLE_CONTROL + CONSOLE_TRANSMIT;
    struct vq *q = &con->dev.queue[n];
    struct message m;
    struct vq_chain c;
    int rc = 0, done = 0;

    while (done < CONSOLE_CHAINS_PER_KICK && (rc = vq_next(q, &c)) > 0) {
        memset(&m, 0, sizeof(m));
        if (!c.marked && vq_pull(q, &c, &m, sizeof(m)) == 0)
            take(con, &m);
        else if (!c.marked)
            refuse(con, &m, "it is too short");
        vq_mark_done(q, &c);
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    if (done == CONSOLE_CHAINS_PER_KICK)
        virtio_kick_later(&con->dev, n);
    if (done)
        virtio_notify(&con->dev, n);
    return rc < 0 ? rc : 0;
}
