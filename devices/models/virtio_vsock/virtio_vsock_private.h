/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the socket device (VIRTIO 1.2, section 5.10).
 *
 *   virtio_vsock.c        class, options, life, state
 *   virtio_vsock_tx.c     packets from the guest
 *   virtio_vsock_rx.c     packets to the guest, and events
 *   virtio_vsock_conn.c   connections: table, credit, bytes that wait for the host
 *   virtio_vsock_host.c   sockets of the host: clients that come, programs that are dialled
 *   virtio_vsock_kernel.c AF_VSOCK of the host instead (vhost=on)
 *
 * All of it runs in the loop's thread under the device's lock.
 */
#ifndef VIRTIO_VSOCK_PRIVATE_H
#define VIRTIO_VSOCK_PRIVATE_H

#include <sys/uio.h>

#include <vmm/base/le.h>
#include <vmm/base/loop.h>
#include <vmm/devices-core/ledger.h>
#include <vmm/virtio/device.h>

/* 5.10.3, 5.10.4, 5.10.6 */
#define VIRTIO_VSOCK_F_STREAM    (1ULL << 0)
#define VIRTIO_VSOCK_F_SEQPACKET (1ULL << 1)

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

enum {
    VSOCK_CID_HOST = 2, /* 5.10.4: 0, 1, 2 and 2^32 - 1 are reserved */
    VSOCK_CID_FIRST = 3,
    VSOCK_CONNECTIONS =
        4096, /* most at a time, where the user says nothing: the preset of connections= */
};
#define VSOCK_CID_LAST (UINT32_MAX - 1)

enum vsock_op {
    VSOCK_OP_INVALID,
    VSOCK_OP_REQUEST,
    VSOCK_OP_RESPONSE,
    VSOCK_OP_RST,
    VSOCK_OP_SHUTDOWN,
    VSOCK_OP_RW,
    VSOCK_OP_CREDIT_UPDATE,
    VSOCK_OP_CREDIT_REQUEST,
};
enum { VSOCK_STREAM = 1, VSOCK_SEQPACKET = 2 }; /* type */
enum { VSOCK_NO_RECEIVE = 1, VSOCK_NO_SEND = 2, VSOCK_CLOSED = 3 }; /* flags of SHUTDOWN */
enum { VSOCK_EOM = 1, VSOCK_EOR = 2 }; /* flags of RW, seqpacket */
enum { VSOCK_EVENT_RESET = 0 };

struct vsock_hdr {
    struct le64 src_cid, dst_cid;
    struct le32 src_port, dst_port, len;
    struct le16 type, op;
    struct le32 flags, buf_alloc, fwd_cnt;
} __attribute__((packed)); /* 44 bytes, though the first one is of 8 */

struct vsock_space {
    struct le64 guest_cid;
};

enum {
    VSOCK_RING = 256,
    /* What we tell the guest that it may send before the host has taken it. A message is one record of a Unix socket, whose kernel
     * takes 208 KiB at most unless it was told otherwise (net.core.wmem_default). */
    VSOCK_STREAM_ALLOC = 256 << 10,
    VSOCK_MESSAGE_ALLOC = 128 << 10,
    VSOCK_WAITING_MAX = 64 << 20, /* of all connections together */
    VSOCK_PACKET_MAX = 64 << 10, /* Linux's VIRTIO_VSOCK_MAX_PKT_BUF_SIZE */
    VSOCK_RECORD_MAX = 256 << 10, /* a message from the host */
    VSOCK_RSTS = 256,
    VSOCK_HASH = 4096,
    VSOCK_HELLOS_MAX = 128, /* clients whose line has not come */
    VSOCK_DIALS_MAX = 16, /* asked and not answered */
    VSOCK_LINE_MAX = 32, /* "CONNECT 4294967295\n" has 19 */
    VSOCK_PORT_FIRST = 1 << 30, /* ports of the host's side: as Firecracker's */
    VSOCK_PACKETS_PER_KICK = 128,
    VSOCK_BYTES_PER_KICK = 1 << 20,
    VSOCK_EMPTY_PER_TURN = 64, /* messages without bytes; then others have their turn */
};
#define VSOCK_HELLO_NS  UINT64_C(10000000000) /* for the line, and for an answer of either side */
#define VSOCK_LINGER_NS UINT64_C(30000000000) /* for what a guest sent before it closed */
#define VSOCK_ASK_NS    UINT64_C(1000000000) /* until a guest is asked again for room */
#define VSOCK_RETRY_NS  UINT64_C(1000000000) /* accept(2) had no descriptor */

struct virtio_vsock_config {
    struct vdev_common common;
    uint32_t cid;
    char *socket, *seqpacket, *vhost_device;
    uint32_t connections;
    bool vhost;
    struct virtio_options virtio;
};

/* What outlives a process: the ledger is all of it. */
struct virtio_vsock_state {
    uint8_t used; /* the driver has had connections */
    uint32_t ports; /* given to clients so far, from VSOCK_PORT_FIRST on */
};

/*
 *   client comes -> HELLO --CONNECT line--> ASKED --RESPONSE--> OPEN
 *   REQUEST comes -> DIALLING --a socket--> OPEN
 *   OPEN --the guest closed, and the host has not taken all bytes--> LINGER
 *
 *   any of them but HELLO --it cannot go on--> DEAD --the guest was told--> gone
 *
 * Only ASKED, DIALLING and OPEN are found in the table, and those whose RST the guest has not got.
 */
enum vsock_conn_state {
    VSOCK_HELLO,
    VSOCK_ASKED,
    VSOCK_DIALLING,
    VSOCK_OPEN,
    VSOCK_LINGER,
    VSOCK_DEAD,
};

/* Packets that a connection owes the guest. */
enum {
    VSOCK_OWE_REQUEST = 1,
    VSOCK_OWE_RESPONSE = 2,
    VSOCK_OWE_UPDATE = 4,
    VSOCK_OWE_ASK = 8, /* CREDIT_REQUEST */
    VSOCK_OWE_RST = 16,
};

struct vsock_ring { /* bytes for the host, which does not take them now */
    uint8_t
        *data; /* NULL: none wait; one bit for each byte lies behind them: a message ends there */
    uint32_t at, len;
    uint32_t whole; /* messages: bytes of those that are complete */
};

struct vsock_conn {
    struct virtio_vsock *vsock;
    struct vm_list node; /* of all */
    struct vm_list ready; /* has something for the guest, perhaps */
    struct vm_list dial; /* waits for its turn, or for the answer */
    struct vsock_conn *next; /* same hash */
    enum vsock_conn_state state;
    uint32_t guest_port, host_port;
    uint16_t type;
    uint8_t owed;
    uint8_t guest_shut, told_shut; /* flags of SHUTDOWN, from and to the guest */
    bool from_host; /* a client of the host's */
    bool readable, writable, ended, hung_up; /* what the socket said last */
    bool host_eof, host_gone; /* the host sends, takes nothing more */
    bool asked_credit; /* since the guest last told of its credit */
    bool asked_dial;
    uint32_t tag; /* of the dial */
    int fd;
    struct vm_watch watch;
    struct vm_timer timer;

    uint32_t alloc; /* ours */
    uint32_t rx_cnt, fwd_cnt,
        told_fwd; /* bytes from the guest; those that went on; as it was told */
    uint32_t peer_alloc, peer_fwd, tx_cnt; /* its own; bytes to it */
    struct vsock_ring ring;
};

struct vsock_rst { /* to the guest, for what has no connection */
    uint64_t src_cid;
    uint32_t src_port, dst_port;
    uint16_t type;
};

struct vsock_listener {
    struct virtio_vsock *vsock;
    struct vm_watch watch;
    uint32_t hellos; /* its clients whose line has not come */
    int fd; /* -1: none */
    uint16_t type;
};

struct vsock_dialler {
    struct virtio_vsock *vsock;
    struct vm_watch watch;
    int fd; /* vmm/base/dial.h; -1: none */
    uint16_t type;
};

struct vhost_kernel;
struct virtio_vsock {
    struct virtio_dev dev;
    struct vhost_kernel *kernel; /* serves the packets' queues; NULL: we do */
    const struct virtio_ops *plain; /* what it does without; and with the kernel */
    struct virtio_ops lending;
    /* In ioctl(2)'s place, with the device as ctx: for tests. NULL: none. */
    int (*control)(void *ctx, unsigned file, unsigned long request, void *argument);
    struct virtio_vsock_state s;
    uint64_t cid;
    bool lost; /* connections that the driver had are gone, and it does not know yet */
    bool tx_waits; /* for room among the RSTs */
    uint32_t conns, conns_max, clients, hellos;
    struct vm_list all, ready, dials;
    struct vsock_conn *hash[VSOCK_HASH];
    uint64_t hash_key[2]; /* the guest chooses the ports */
    uint32_t dials_out, next_tag;
    struct vsock_listener listener[2];
    struct vsock_dialler dialler[2];
    struct vm_timer retry; /* accept(2) */
    uint64_t waiting_bytes; /* allocated for rings */
    struct vsock_rst rst[VSOCK_RSTS];
    uint32_t rst_at, rst_len;
    /* A message from the host on its way into the guest's buffers. */
    struct {
        struct vsock_conn *conn; /* NULL: none */
        uint8_t *data;
        uint32_t at, len;
    } record;
    struct iovec iov[VQ_CHAIN_MAX];
    struct vm_ratelimit limit;
    struct { /* metrics */
        uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets, connects, accepts, refused, resets,
            bad_packets, bad_buffers, bad_clients, credit_waits, empty_messages;
    } count;
};

/* Counters of credit run freely (5.10.6.3): they wrap. */
static inline uint32_t virtio_vsock_sum(uint32_t a, uint32_t b)
{
    (void)__builtin_add_overflow(a, b, &a);
    return a;
}
static inline uint32_t virtio_vsock_since(uint32_t now, uint32_t then)
{
    (void)__builtin_sub_overflow(now, then, &now);
    return now;
}

static inline struct virtio_vsock *virtio_vsock_of(struct virtio_dev *dev)
{
    return container_of(dev, struct virtio_vsock, dev);
}

/* One line about a guest or a client that does not keep to the rules. */
#define virtio_vsock_complain(v, ...) \
    vm_log_limited((v)->dev.dev.env, &(v)->limit, VM_LOG_WARN, "%s: " __VA_ARGS__)

/* virtio_vsock.c */
/* The device; v is zeroed, from vdev_alloc(), and the device's own from now on, also on error. */
int virtio_vsock_new(const struct vdev_context *context, struct virtio_vsock *v,
                     struct vdev **ret_dev);

/* virtio_vsock_conn.c */
struct vsock_conn *virtio_vsock_conn_new(struct virtio_vsock *v, uint16_t type, bool from_host);
/* The socket is closed, nobody is told. */
void virtio_vsock_conn_free(struct vsock_conn *c);
/* The same, but it stays until the guest got its RST. */
void virtio_vsock_conn_abort(struct vsock_conn *c);
struct vsock_conn *virtio_vsock_conn_find(struct virtio_vsock *v, uint32_t guest_port,
                                          uint32_t host_port);
/* There was one, and the guest will get its RST. */
bool virtio_vsock_conn_ends(struct virtio_vsock *v, uint32_t guest_port, uint32_t host_port);
void virtio_vsock_conn_enter(struct vsock_conn *c);
void virtio_vsock_conn_leave(struct vsock_conn *c);
/* It may have something for the guest. */
void virtio_vsock_conn_ready(struct vsock_conn *c);
/* The socket belongs to it from now on. 0 or -errno: it does not. */
int virtio_vsock_conn_attach(struct vsock_conn *c, int fd);
/* len bytes from the guest, in vectors, inside its credit; end: of a message. They went on, wait, or the connection is aborted. */
void virtio_vsock_conn_send(struct vsock_conn *c, struct iovec *iov, int iovs, uint32_t len,
                            bool end);
/* Waiting bytes go on as far as the host takes them. False: the connection is gone. */
bool virtio_vsock_conn_flush(struct vsock_conn *c);
/* The guest has said SHUTDOWN. */
void virtio_vsock_conn_shut(struct vsock_conn *c, uint8_t flags);
/* Bytes that the guest has room for. */
uint32_t virtio_vsock_conn_credit(const struct vsock_conn *c);
/* SHUTDOWN flags that the guest has not been told of. */
uint8_t virtio_vsock_conn_untold(const struct vsock_conn *c);

/* virtio_vsock_rx.c */
void virtio_vsock_rst(struct virtio_vsock *v, uint64_t src_cid, uint32_t src_port,
                      uint32_t dst_port, uint16_t type);
int virtio_vsock_rx(struct virtio_vsock *v, struct vq *q);
int virtio_vsock_events(struct virtio_vsock *v, struct vq *q);
/* A record that was read of this connection will not go on. */
void virtio_vsock_record_drop(struct vsock_conn *c);

/* virtio_vsock_tx.c */
int virtio_vsock_tx(struct virtio_vsock *v, struct vq *q);

/* virtio_vsock_host.c */
/* First of all: nothing is open. */
void virtio_vsock_host_init(struct virtio_vsock *v);
int virtio_vsock_host_open(struct virtio_vsock *v, const struct virtio_vsock_config *config);
void virtio_vsock_host_close(struct virtio_vsock *v);
/* The line of a client may have come. */
void virtio_vsock_hello(struct vsock_conn *c);
/* The guest has answered it. */
void virtio_vsock_accepted(struct vsock_conn *c);
/* A program of the host is to be dialled. */
void virtio_vsock_dial(struct vsock_conn *c);
void virtio_vsock_dial_forget(struct vsock_conn *c);
/* Its line has come, or it left before. */
void virtio_vsock_hello_over(struct vsock_conn *c);
/* There is room for a client again. */
void virtio_vsock_accept_more(struct virtio_vsock *v);

/* ---- virtio_vsock_kernel.c ---- */

/* Where connections end is said, and once. -EINVAL with text. */
int virtio_vsock_kernel_check(const char *id, const struct virtio_vsock_config *config);
/* The kernel serves the packets from the device's start on. 0 or -errno with text. */
int virtio_vsock_kernel_new(struct virtio_vsock *v, const struct vdev_context *context,
                            const struct virtio_vsock_config *config);
/* Of the class. */
const struct vm_jail_rule *virtio_vsock_kernel_rules(const void *config);
const char *virtio_vsock_kernel_reason(const void *config);

#endif
