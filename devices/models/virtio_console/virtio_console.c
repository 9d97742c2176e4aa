/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Console device (VIRTIO 1.2, section 5.3): one port, queue 0 to the guest, queue 1 from it.
 *
 * Output has back-pressure: what the back end has no room for stays in the queue and goes on when it is drained. But Linux's
 * hvc driver spins, with interrupts off, until its bytes are taken: so a reader that takes nothing for STUCK_NS makes the
 * device drop (and count) until there is room again.
 *
 *   [going] --ring full--> [waiting] --STUCK_NS--> one last try --not a byte taken--> [dropping]
 *      ^-------- drained -----'---------- drained -------------------------------------'
 *
 * Input waits in the back end until the driver runs; what is on its way stands in rx.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/char/char.h>
#include <vmm/devices-core/ledger.h>
#include <vmm/virtio-queue/inflight.h>
#include <vmm/virtio/device.h>

extern const struct vdev_class virtio_console_class;

/* Features and config space (5.3.3, 5.3.4). */
#define F_SIZE        (1ULL << 0)
#define F_EMERG_WRITE (1ULL << 2)

struct console_space {
    struct le16 cols, rows;
    struct le32 max_nr_ports;
    struct le32 emerg_wr;
};

enum {
    RECEIVE = 0,
    TRANSMIT = 1,
    QUEUES = 2,
    RECEIVE_SIZE = 32, /* Linux puts a page into each */
    TRANSMIT_SIZE = 128,
    CHAINS_PER_KICK = 128, /* then others have their turn in the loop */
    BYTES_PER_KICK = 256 << 10,
    CHAIN_BYTES_MAX =
        1 << 20, /* the rest of a longer chain is dropped: a guest could make it endless */
    PIECE_BYTES = 2048,
    RX_BYTES = 256,
};
#define STUCK_NS UINT64_C(200000000)

struct console_config {
    struct vdev_common common;
    struct vchar_config chr;
    uint32_t cols, rows;
    struct virtio_options virtio;
};

struct console_state {
    uint16_t cols, rows;
    /* The first tx_done bytes of the chain at tx_at have gone out; it was put back for want of room. */
    uint16_t tx_at;
    uint64_t tx_done;
    uint32_t rx_len;
    uint8_t rx[RX_BYTES];
};

struct console {
    struct virtio_dev dev;
    struct vchar *chr;
    struct console_state s;
    bool waiting; /* for room in the back end */
    bool last_try, dropping; /* nobody reads: see above */
    struct vm_timer stuck;
    struct {
        uint64_t tx, rx, dropped, rx_dropped, also_dropped;
    } count;
};

static struct console *console_of(struct virtio_dev *dev)
{
    return container_of(dev, struct console, dev);
}

/* ---- from the guest ---- */

static void on_stuck(struct vm_timer *timer)
{
    struct console *con = container_of(timer, struct console, stuck);

    vm_lock_acquire(&con->dev.dev.lock);
    con->last_try = con->waiting;
    if (con->waiting)
        virtio_kick_later(&con->dev, TRANSMIT);
    vm_lock_release(&con->dev.dev.lock);
}

/* Kicks are served in the loop's thread: timers are ours. */
static void begin_waiting(struct console *con)
{
    struct vm_loop *loop = con->dev.dev.env->loop;

    con->waiting = true;
    if (!con->stuck.slot &&
        vm_timer_set(loop, &con->stuck, vm_loop_now_ns(loop) + STUCK_NS, on_stuck))
        con->dropping = true;
}

/* True: all of it is on its way. */
static bool put(struct console *con, const uint8_t *data, size_t len)
{
    size_t n = vchar_write(con->chr, data, len, con->dropping);

    if (!n && len && con->last_try && !con->dropping) {
        con->dropping = true;
        vchar_write(con->chr, data, len, true);
    }
    con->last_try = con->last_try && !n;
    vm_count(&con->count.tx, n);
    vm_count(&con->count.dropped, con->dropping ? len - n : 0);
    con->s.tx_done += con->dropping ? len : n;
    return con->dropping || n == len;
}

/* True: the chain's bytes are all on their way, or cannot be read. */
static bool transmit(struct console *con, struct vq *q, struct vq_chain *c)
{
    uint8_t piece[PIECE_BYTES];
    uint64_t skip = con->s.tx_done;

    while (vq_pull_left(c) && c->pulled < CHAIN_BYTES_MAX) {
        size_t len = vq_pull_left(c) < PIECE_BYTES ? vq_pull_left(c) : PIECE_BYTES, old;

        if (vq_pull(q, c, piece, len))
            return true;
        old = skip < len ? (size_t)skip : len;
        skip -= old;
        if (!put(con, piece + old, len - old))
            return false;
    }
    vm_count(&con->count.dropped, vq_pull_left(c));
    return true;
}

/* Who keeps a log may die and be followed by another: from here on the bytes are neither lost with this process nor sent by the
 * next one, too. */
static void is_out(struct console *con, struct vq *q, const struct vq_chain *c)
{
    vchar_flush(con->chr);
    vq_mark_done(q, c);
}

static int serve_transmit(struct console *con, struct vq *q)
{
    uint64_t bytes = 0;
    struct vq_chain c;
    int rc = 0, done = 0;

    con->waiting = false;
    while (done < CHAINS_PER_KICK && bytes < BYTES_PER_KICK && (rc = vq_next(q, &c)) > 0) {
        bool begun = con->s.tx_done;

        /* The chain that was put back comes first; after a reset of the queue there is none. */
        if (con->s.tx_done && con->s.tx_at != c.id)
            con->s.tx_done = 0;
        if (!c.marked && !transmit(con, q, &c)) {
            con->s.tx_at = c.id;
            if (q->log)
                vchar_flush(con->chr); /* what the ledger calls done */
            vdev_ledger_changed(&con->dev.dev);
            vq_undo(q, &c);
            begin_waiting(con);
            break;
        }
        if (q->log)
            is_out(con, q, &c);
        con->s.tx_done = 0;
        if (begun) /* not before the mark, nor after the driver has it back and may use its id again */
            vdev_ledger_changed(&con->dev.dev);
        bytes += c.pulled;
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    if (done == CHAINS_PER_KICK || bytes >= BYTES_PER_KICK)
        virtio_kick_later(&con->dev, TRANSMIT);
    if (done)
        virtio_notify(&con->dev, TRANSMIT);
    return rc < 0 ? rc : 0;
}

static void drained(void *ctx)
{
    struct console *con = ctx;

    vm_lock_acquire(&con->dev.dev.lock);
    vm_timer_cancel(&con->stuck);
    con->dropping = con->last_try = con->waiting = false;
    vm_lock_release(&con->dev.dev.lock);
    virtio_kick_later(&con->dev, TRANSMIT);
}

/* ---- to the guest ---- */

static size_t input(void *ctx, const uint8_t *data, size_t len)
{
    struct console *con = ctx;
    struct console_state *s = &con->s;
    size_t n = 0;

    vm_lock_acquire(&con->dev.dev.lock);
    if (con->dev.running && !con->dev.dev.quiesced) {
        n = RX_BYTES - s->rx_len;
        n = n < len ? n : len;
        memcpy(s->rx + s->rx_len, data, n);
        s->rx_len += (uint32_t)n;
        vdev_ledger_changed(&con->dev.dev);
    }
    vm_lock_release(&con->dev.dev.lock);
    if (n)
        virtio_kick_later(&con->dev, RECEIVE);
    return n;
}

/* A buffer that cannot be written comes back empty, and the bytes go into the next one. */
static void receive(struct console *con, struct vq *q, struct vq_chain *c)
{
    struct console_state *s = &con->s;
    uint32_t len = vq_push_left(c) < s->rx_len ? (uint32_t)vq_push_left(c) : s->rx_len;

    if (vq_push(q, c, s->rx, len)) {
        c->pushed = 0;
        return;
    }
    s->rx_len -= len;
    memmove(s->rx, s->rx + len, s->rx_len);
    vdev_ledger_changed(&con->dev.dev);
    vm_count(&con->count.rx, len);
}

static int serve_receive(struct console *con, struct vq *q)
{
    struct vq_chain c;
    int rc = 0, done = 0;

    while (con->s.rx_len && done < CHAINS_PER_KICK && (rc = vq_next(q, &c)) > 0) {
        receive(con, q, &c);
        rc = vq_done(q, &c);
        if (rc)
            break;
        done++;
    }
    if (done == CHAINS_PER_KICK)
        virtio_kick_later(&con->dev, RECEIVE);
    if (done)
        virtio_notify(&con->dev, RECEIVE);
    if (!con->s.rx_len)
        vchar_ready(con->chr);
    return rc < 0 ? rc : 0;
}

static int console_kick(struct virtio_dev *dev, uint16_t n)
{
    struct console *con = console_of(dev);

    return n == RECEIVE ? serve_receive(con, &dev->queue[n]) : serve_transmit(con, &dev->queue[n]);
}

static void escape(void *ctx, uint8_t key)
{
    struct console *con = ctx;

    vdev_event(&con->dev.dev, VDEV_EVENT_ESCAPE, key);
}

/* Output that is dropped is counted where it is sent. */
static void dropped(void *ctx, bool is_input, uint64_t count)
{
    struct console *con = ctx;

    if (is_input)
        vm_count(&con->count.rx_dropped, count);
}

static void also_dropped(void *ctx, uint64_t count)
{
    struct console *con = ctx;

    vm_count(&con->count.also_dropped, count);
}

static const struct vchar_ops chr_ops = { .input = input,
                                          .escape = escape,
                                          .drained = drained,
                                          .dropped = dropped,
                                          .also_dropped = also_dropped };

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
        vchar_write(console_of(dev)->chr, data, 1, true);
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
    return 0;
}

/* ---- life ---- */

/* Both queues are kicked after it. */
static void console_reset(struct virtio_dev *dev)
{
    struct console *con = console_of(dev);

    con->s.tx_done = con->s.rx_len = 0;
    con->s.tx_at = 0;
    memset(con->s.rx, 0, sizeof(con->s.rx));
    con->waiting = con->last_try = con->dropping = false;
}

static void console_save(struct virtio_dev *dev, void *ret_state)
{
    memcpy(ret_state, &console_of(dev)->s, sizeof(struct console_state));
}

/* Every value is possible: the codec has checked the length of rx, and a chain shorter than tx_done is one that has gone. */
static int console_load(struct virtio_dev *dev, const void *untrusted)
{
    struct console *con = console_of(dev);

    memcpy(&con->s, untrusted, sizeof(con->s));
    show_size(con);
    return 0;
}

static void console_destroy(struct virtio_dev *dev)
{
    struct console *con = console_of(dev);

    vm_timer_cancel(&con->stuck);
    vchar_free(con->chr);
    virtio_exit(dev);
    free(con);
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

static int console_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    static const uint16_t sizes[QUEUES] = { RECEIVE_SIZE, TRANSMIT_SIZE };
    const struct console_config *config = context->config;
    const struct virtio_setup setup = { .id = VIRTIO_ID_CONSOLE,
                                        .features = F_SIZE | F_EMERG_WRITE,
                                        .queue_sizes = sizes,
                                        .queues = QUEUES,
                                        .config_bytes = sizeof(struct console_space),
                                        .options = &config->virtio };
    struct console *con = calloc(1, sizeof(*con));
    int rc;

    if (!con)
        return vm_fail(-ENOMEM, "%s: out of memory", context->id);
    rc = virtio_init(&con->dev, &virtio_console_class, &ops, context, &setup);
    if (rc) {
        free(con);
        return rc;
    }
    con->s.cols = (uint16_t)config->cols;
    con->s.rows = (uint16_t)config->rows;
    show_size(con);
    rc = vchar_new(context->env, con->dev.dev.id, &config->chr, &chr_ops, con, &con->chr);
    if (rc) {
        virtio_exit(&con->dev);
        free(con);
        return rc;
    }
    if (vchar_has_keys(con->chr))
        con->dev.dev.stays = "it reads the terminal, whose escape key stops the machine";
    *ret_dev = &con->dev.dev;
    return 0;
}

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
    { 0 },
};

#define FIELD(t, kind, member)                                                       \
    {                                                                                \
        .tag = (t), .type = (kind), .offset = offsetof(struct console_state, member) \
    }
static const struct vm_state_field state_fields[] = {
    FIELD(1, VM_STATE_U16, cols),
    FIELD(2, VM_STATE_U16, rows),
    FIELD(3, VM_STATE_U16, tx_at),
    FIELD(4, VM_STATE_U64, tx_done),
    { .tag = 5,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct console_state, rx),
      .max = RX_BYTES,
      .count_offset = offsetof(struct console_state, rx_len) },
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
    { 0 },
};

/* Ctrl-A x at a terminal stops the machine, which no process of a device may; and the user's own terminal is read for it whatever becomes
 * of a device. */
static const char *thread_reason(const void *config)
{
    const struct console_config *c = config;
    bool keys = vchar_uses(&c->chr, VCHAR_TTY) || vchar_uses(&c->chr, VCHAR_PTY);

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
    .state_version = 1,
    .replay = VDEV_REPLAY_MARKED,
    .ledger = state_fields,
    .metrics = metrics,
    .thread_reason = thread_reason,
    .jail = jail,
    .create = console_create,
};
