/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Inside of the console device: ports (virtio_console_port.c), messages about them (virtio_console_control.c), and what holds them
 * together (virtio_console.c). All under the device's lock, but for the back ends' call-backs, which take it.
 *
 * Port 0 is the console and has queues 0 and 1. With F_MULTIPORT queues 2 and 3 carry messages, and port n > 0 has queues 2n + 2 and
 * 2n + 3 (VIRTIO 1.2, section 5.3.2).
 */
#ifndef VIRTIO_CONSOLE_PRIVATE_H
#define VIRTIO_CONSOLE_PRIVATE_H

#include <vmm/base/le.h>
#include <vmm/char/char.h>
#include <vmm/devices-core/ledger.h>
#include <vmm/virtio-queue/inflight.h>
#include <vmm/virtio/device.h>

/* Features (5.3.3). */
#define CONSOLE_F_SIZE        (1ULL << 0)
#define CONSOLE_F_MULTIPORT   (1ULL << 1)
#define CONSOLE_F_EMERG_WRITE (1ULL << 2)

enum {
    CONSOLE_RECEIVE = 0,
    CONSOLE_TRANSMIT = 1,
    CONSOLE_CONTROL = 2, /* to the guest; from it: the next one */
    CONSOLE_MORE_PORTS = 31, /* beside the first */
    CONSOLE_PORTS = 1 + CONSOLE_MORE_PORTS,
    CONSOLE_QUEUES = 2 * CONSOLE_PORTS + 2,
    CONSOLE_RECEIVE_SIZE = 32, /* Linux puts a page into each */
    CONSOLE_TRANSMIT_SIZE = 128,
    CONSOLE_CHAINS_PER_KICK = 128, /* then others have their turn in the loop */
    CONSOLE_RX_BYTES = 256,
    CONSOLE_NAME_MAX = 63,
};

/* Messages that a port owes the guest, in the order in which they go out (5.3.6.2). */
enum {
    CONSOLE_OWE_ADD = 1 << 0,
    CONSOLE_OWE_CONSOLE = 1 << 1,
    CONSOLE_OWE_NAME = 1 << 2,
    CONSOLE_OWE_RESIZE = 1 << 3,
    CONSOLE_OWE_CLOSE = 1 << 4, /* before an open: who came after somebody else is somebody else */
    CONSOLE_OWE_OPEN = 1 << 5,
    CONSOLE_OWE_ALL = (1 << 6) - 1,
};

struct console_port_config {
    char *name;
    bool console;
    struct vchar_config chr;
};

struct console_config {
    struct vdev_common common;
    struct vchar_config chr;
    uint32_t cols, rows;
    struct vm_prop_list ports; /* of struct console_port_config */
    struct virtio_options virtio;
};

struct console_port_state {
    /* The first tx_done bytes of the chain at tx_at have gone out; it was put back for want of room. */
    uint16_t tx_at;
    uint64_t tx_done;
    uint32_t rx_len;
    uint8_t rx[CONSOLE_RX_BYTES];
    uint8_t owed; /* CONSOLE_OWE_ */
    bool ready; /* the guest has made it known (PORT_READY) */
    bool guest_open; /* somebody in the guest has it open */
    bool told_open; /* the guest knows, or is owed, that somebody is at the other side */
};

struct console_state {
    uint16_t cols, rows;
    uint32_t more; /* ports beside the first */
    struct console_port_state port[CONSOLE_PORTS];
};

struct console;

struct console_port {
    struct console *con;
    struct vchar *chr; /* NULL: not made yet */
    struct console_port_state *s;
    char name[CONSOLE_NAME_MAX + 1];
    uint16_t number;
    bool console;
    uint64_t connections; /* the back end's, when the guest was told last */
    bool waiting; /* for room in the back end */
    bool last_try, dropping; /* nobody reads: see virtio_console_port.c */
    size_t unflushed; /* bytes since, while dropping */
    struct vm_timer stuck;
};

struct console {
    struct virtio_dev dev;
    unsigned ports;
    struct console_port port[CONSOLE_PORTS];
    struct console_state s;
    struct vm_ratelimit limit;
    struct {
        uint64_t tx, rx, dropped, rx_dropped, also_dropped, control, control_bad;
    } count;
};

static inline struct console *console_of(struct virtio_dev *dev)
{
    return container_of(dev, struct console, dev);
}

static inline uint16_t console_queue_of(const struct console_port *port, unsigned direction)
{
    return (uint16_t)((port->number ? 2 * port->number + 2 : 0) + (int)direction);
}

static inline bool console_multiport(const struct console *con)
{
    return virtio_has(&con->dev, CONSOLE_F_MULTIPORT);
}

/* virtio_console_port.c */
extern const struct vchar_ops virtio_console_chr_ops; /* ctx: the port */
int virtio_console_port_receive(struct console_port *port);
int virtio_console_port_transmit(struct console_port *port);
void virtio_console_port_reset(struct console_port *port);

/* virtio_console_control.c */
/* Queue 2: what is owed goes out, as far as there are buffers. */
int virtio_console_control_send(struct console *con);
/* Queue 3: what the guest says. */
int virtio_console_control_take(struct console *con);
/* More is owed; it goes out in the loop. */
void virtio_console_owe(struct console_port *port, unsigned what);
/* Whether somebody is at the other side may have changed. */
void virtio_console_settle_open(struct console_port *port);

#endif
