/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The bytes of one port (VIRTIO 1.2, section 5.3.6).
 *
 * Output has back-pressure: what the back end has no room for stays in the queue and goes on when it is drained. But Linux's
 * hvc driver spins, with interrupts off, until its bytes are taken: so a reader of a console that takes nothing for STUCK_NS makes
 * the device drop (and count) until there is room again. A port that is no console waits for as long as it takes, unless further places
 * (also=) would wait with it.
 *
 *   [going] --ring full--> [waiting] --STUCK_NS--> one last try --not a byte taken--> [dropping]
 *      ^-------- drained -----'---------- drained -------------------------------------'
 *
 * Input waits in the back end until the driver runs and, where there are several ports, has this one open: Linux throws away what
 * comes before. What is on its way stands in rx.
 */
#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

#include "virtio_console_private.h"

enum {
    BYTES_PER_KICK = 256 << 10,
    CHAIN_BYTES_MAX =
        1 << 20, /* the rest of a longer chain is dropped: a guest could make it endless */
    PIECE_BYTES = 2048,
    FLUSH_BYTES = 16 << 10, /* a quarter of a ring in the back end */
};
#define STUCK_NS UINT64_C(200000000)

/* ---- from the guest ---- */

static void kick_later(struct console_port *port, unsigned direction)
{
    virtio_kick_later(&port->con->dev, console_queue_of(port, direction));
}

static void on_stuck(struct vm_timer *timer)
{
    struct console_port *port = container_of(timer, struct console_port, stuck);

    vm_lock_acquire(&port->con->dev.dev.lock);
    port->last_try = port->waiting;
    if (port->waiting)
        kick_later(port, CONSOLE_TRANSMIT);
    vm_lock_release(&port->con->dev.dev.lock);
}

/* Who does not read is given up for others' sake. */
static bool may_give_up(const struct console_port *port)
{
    return port->console || vchar_is_shared(port->chr);
}

/* Kicks are served in the loop's thread: timers are ours. */
static void begin_waiting(struct console_port *port)
{
    struct vm_loop *loop = port->con->dev.dev.env->loop;

    port->waiting = true;
    if (may_give_up(port) && !port->stuck.slot &&
        vm_timer_set(loop, &port->stuck, vm_loop_now_ns(loop) + STUCK_NS, on_stuck))
        port->dropping = true;
}

/* Who is given up does not slow the guest down any more: a file beside it has its bytes before its ring is full. */
static void went_past(struct console_port *port, size_t len)
{
    port->unflushed += len;
    if (port->unflushed < FLUSH_BYTES)
        return;
    port->unflushed = 0;
    vchar_flush(port->chr);
}

/* True: all of it is on its way. */
static bool put(struct console_port *port, const uint8_t *data, size_t len)
{
    struct console *con = port->con;
    size_t n = vchar_write(port->chr, data, len, port->dropping);

    if (!n && len && port->last_try && !port->dropping) {
        port->dropping = true;
        n = vchar_write(port->chr, data, len, true);
    }
    port->last_try = port->last_try && !n;
    vm_count(&con->count.tx, n);
    vm_count(&con->count.dropped, port->dropping ? len - n : 0);
    port->s->tx_done += port->dropping ? len : n;
    if (port->dropping)
        went_past(port, len);
    return port->dropping || n == len;
}

/* True: the chain's bytes are all on their way, or cannot be read. */
static bool transmit(struct console_port *port, struct vq *q, struct vq_chain *c)
{
    uint8_t piece[PIECE_BYTES];
    uint64_t skip = port->s->tx_done;

    while (vq_pull_left(c) && c->pulled < CHAIN_BYTES_MAX) {
        size_t len = vq_pull_left(c) < PIECE_BYTES ? vq_pull_left(c) : PIECE_BYTES, old;

        if (vq_pull(q, c, piece, len))
            return true;
        old = skip < len ? (size_t)skip : len;
        skip -= old;
        if (!put(port, piece + old, len - old))
            return false;
    }
    vm_count(&port->con->count.dropped, vq_pull_left(c));
    return true;
}

/* Who keeps a log may die and be followed by another: from here on the bytes are neither lost with this process nor sent by the
 * next one, too. */
static void is_out(struct console_port *port, struct vq *q, const struct vq_chain *c)
{
    vchar_flush(port->chr);
    vq_mark_done(q, c);
}

int virtio_console_port_transmit(struct console_port *port)
{
    struct console *con = port->con;
    struct console_port_state *s = port->s;
    uint16_t n = console_queue_of(port, CONSOLE_TRANSMIT);
    struct vq *q = &con->dev.queue[n];
    uint64_t bytes = 0;
    struct vq_chain c;
    int rc = 0, done = 0;

    port->waiting = false;
    while (done < CONSOLE_CHAINS_PER_KICK && bytes < BYTES_PER_KICK && (rc = vq_next(q, &c)) > 0) {
        bool begun = s->tx_done;

        /* The chain that was put back comes first; after a reset of the queue there is none. */
        if (s->tx_done && s->tx_at != c.id)
            s->tx_done = 0;
        if (!c.marked && !transmit(port, q, &c)) {
            s->tx_at = c.id;
            if (q->log)
                vchar_flush(port->chr); /* what the ledger calls done */
            vdev_ledger_changed(&con->dev.dev);
            vq_undo(q, &c);
            begin_waiting(port);
            break;
        }
        if (q->log)
            is_out(port, q, &c);
        s->tx_done = 0;
        if (begun) /* not before the mark, nor after the driver has it back and may use its id again */
            vdev_ledger_changed(&con->dev.dev);
        bytes += c.pulled;
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    if (done == CONSOLE_CHAINS_PER_KICK || bytes >= BYTES_PER_KICK)
        kick_later(port, CONSOLE_TRANSMIT);
    if (done)
        virtio_notify(&con->dev, n);
    return rc < 0 ? rc : 0;
}

static void drained(void *ctx)
{
    struct console_port *port = ctx;

    vm_lock_acquire(&port->con->dev.dev.lock);
    vm_timer_cancel(&port->stuck);
    port->dropping = port->last_try = port->waiting = false;
    vm_lock_release(&port->con->dev.dev.lock);
    kick_later(port, CONSOLE_TRANSMIT);
}

/* ---- to the guest ---- */

static bool listens(const struct console_port *port)
{
    const struct console *con = port->con;

    return con->dev.running && !con->dev.dev.quiesced &&
           (port->s->guest_open || (!port->number && !console_multiport(con)));
}

static size_t input(void *ctx, const uint8_t *data, size_t len)
{
    struct console_port *port = ctx;
    struct console_port_state *s = port->s;
    size_t n = 0;

    vm_lock_acquire(&port->con->dev.dev.lock);
    if (listens(port)) {
        n = CONSOLE_RX_BYTES - s->rx_len;
        n = n < len ? n : len;
        memcpy(s->rx + s->rx_len, data, n);
        s->rx_len += (uint32_t)n;
        vdev_ledger_changed(&port->con->dev.dev);
    }
    vm_lock_release(&port->con->dev.dev.lock);
    if (n)
        kick_later(port, CONSOLE_RECEIVE);
    return n;
}

/* A buffer that cannot be written comes back empty, and the bytes go into the next one. */
static void receive(struct console_port *port, struct vq *q, struct vq_chain *c)
{
    struct console_port_state *s = port->s;
    uint32_t len = vq_push_left(c) < s->rx_len ? (uint32_t)vq_push_left(c) : s->rx_len;

    if (vq_push(q, c, s->rx, len)) {
        c->pushed = 0;
        return;
    }
    s->rx_len -= len;
    memmove(s->rx, s->rx + len, s->rx_len);
    vdev_ledger_changed(&port->con->dev.dev);
    vm_count(&port->con->count.rx, len);
}

int virtio_console_port_receive(struct console_port *port)
{
    struct console *con = port->con;
    uint16_t n = console_queue_of(port, CONSOLE_RECEIVE);
    struct vq *q = &con->dev.queue[n];
    struct vq_chain c;
    int rc = 0, done = 0;

    /* What the guest closes it does not read: the rest is for who opens it next. */
    while (port->s->rx_len && listens(port) && done < CONSOLE_CHAINS_PER_KICK &&
           (rc = vq_next(q, &c)) > 0) {
        receive(port, q, &c);
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    if (done == CONSOLE_CHAINS_PER_KICK)
        kick_later(port, CONSOLE_RECEIVE);
    if (done)
        virtio_notify(&con->dev, n);
    if (!port->s->rx_len)
        vchar_ready(port->chr);
    return rc < 0 ? rc : 0;
}

/* ---- the back end ---- */

static void escape(void *ctx, uint8_t key)
{
    struct console_port *port = ctx;

    vdev_event(&port->con->dev.dev, VDEV_EVENT_ESCAPE, key);
}

/* Output that is dropped is counted where it is sent. */
static void dropped(void *ctx, bool is_input, uint64_t count)
{
    struct console_port *port = ctx;

    if (is_input)
        vm_count(&port->con->count.rx_dropped, count);
}

static void also_dropped(void *ctx, uint64_t count)
{
    struct console_port *port = ctx;

    vm_count(&port->con->count.also_dropped, count);
}

static void connected(void *ctx)
{
    struct console_port *port = ctx;

    vm_lock_acquire(&port->con->dev.dev.lock);
    if (!port->con->dev.dev.quiesced) /* else when it goes on */
        virtio_console_settle_open(port);
    vm_lock_release(&port->con->dev.dev.lock);
}

const struct vchar_ops virtio_console_chr_ops = { .input = input,
                                                  .escape = escape,
                                                  .drained = drained,
                                                  .dropped = dropped,
                                                  .also_dropped = also_dropped,
                                                  .connected = connected };

/* Its queues are kicked after it. */
void virtio_console_port_reset(struct console_port *port)
{
    memset(port->s, 0, sizeof(*port->s));
    port->waiting = port->last_try = port->dropping = false;
}
