/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The messages of vhost-user (QEMU docs/interop/vhost-user.rst, "Message Specification"): ids, payloads as they lie on the
 * socket, and one table that says of each which payload, which file descriptors and which answer it has. Both roles use it.
 *
 * Numbers are in the machine's own byte order (both ends run on one host). Everything that came from the peer is untrusted
 * until vhost_message_check() has seen it, and its values are after it, too: the check is about shape only.
 */
#ifndef VMM_VHOST_MESSAGE_H
#define VMM_VHOST_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Who sends a request: the front end has the guest, the back end serves its rings. */
enum vhost_role { VHOST_FRONT, VHOST_BACK };

/* Requests of the front end ("Front-end message types"). */
enum vhost_front_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_IOTLB_MSG = 22,
    VHOST_USER_SET_VRING_ENDIAN = 23,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_POSTCOPY_ADVISE = 28,
    VHOST_USER_POSTCOPY_LISTEN = 29,
    VHOST_USER_POSTCOPY_END = 30,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_VRING_KICK = 35,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
    VHOST_USER_GET_SHARED_OBJECT = 41,
    VHOST_USER_SET_DEVICE_STATE_FD = 42,
    VHOST_USER_CHECK_DEVICE_STATE = 43,
    VHOST_USER_GET_SHMEM_CONFIG = 44,
    VHOST_USER_GET_VRING_BASE_SKIP_DRAIN = 45,
    VHOST_FRONT_REQUESTS,
};

/* Requests of the back end, on the socket of SET_BACKEND_REQ_FD ("Back-end message types"). */
enum vhost_back_request {
    VHOST_USER_BACKEND_IOTLB_MSG = 1,
    VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
    VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
    VHOST_USER_BACKEND_VRING_CALL = 4,
    VHOST_USER_BACKEND_VRING_ERR = 5,
    VHOST_USER_BACKEND_SHARED_OBJECT_ADD = 6,
    VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE = 7,
    VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP = 8,
    VHOST_USER_BACKEND_SHMEM_MAP = 9,
    VHOST_USER_BACKEND_SHMEM_UNMAP = 10,
    VHOST_BACK_REQUESTS,
};

/* Protocol features: numbers of bits ("Protocol features"). */
enum vhost_protocol_feature {
    VHOST_USER_PROTOCOL_F_MQ = 0,
    VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
    VHOST_USER_PROTOCOL_F_RARP = 2,
    VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
    VHOST_USER_PROTOCOL_F_MTU = 4,
    VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
    VHOST_USER_PROTOCOL_F_CROSS_ENDIAN = 6,
    VHOST_USER_PROTOCOL_F_CRYPTO_SESSION = 7,
    VHOST_USER_PROTOCOL_F_PAGEFAULT = 8,
    VHOST_USER_PROTOCOL_F_CONFIG = 9,
    VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD = 10,
    VHOST_USER_PROTOCOL_F_HOST_NOTIFIER = 11,
    VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
    VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
    VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
    VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
    VHOST_USER_PROTOCOL_F_STATUS = 16,
    VHOST_USER_PROTOCOL_F_XEN_MMAP = 17,
    VHOST_USER_PROTOCOL_F_SHARED_OBJECT = 18,
    VHOST_USER_PROTOCOL_F_DEVICE_STATE = 19,
    VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
    VHOST_USER_PROTOCOL_F_GPA_ADDRESSES = 21,
    VHOST_USER_PROTOCOL_F_SHMEM = 22,
    VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN = 23,
};
#define VHOST_PROTOCOL(feature) (1ULL << VHOST_USER_PROTOCOL_F_##feature)

/* Bits of GET_FEATURES and SET_FEATURES that are not virtio's. */
#define VHOST_FEATURE_LOG_ALL  (1ULL << 26) /* "Migration": mark what is written */
#define VHOST_FEATURE_PROTOCOL (1ULL << 30) /* protocol features can be negotiated */

/* Flags of the header. */
enum {
    VHOST_MESSAGE_VERSION = 1,
    VHOST_MESSAGE_VERSION_MASK = 3,
    VHOST_MESSAGE_REPLY = 4,
    VHOST_MESSAGE_NEED_REPLY = 8,
};

enum {
    VHOST_HEADER_BYTES = 12,
    VHOST_FDS_MAX = 8,
    VHOST_TABLE_REGIONS = 8, /* of one SET_MEM_TABLE */
    VHOST_CONFIG_MAX = 4096,
    VHOST_CONFIG_HEADER = 12,
    VHOST_PAYLOAD_MAX = VHOST_CONFIG_HEADER + VHOST_CONFIG_MAX,
    VHOST_SHMEM_REGIONS = 256,
    VHOST_RING_INDEX = 0xff, /* SET_VRING_KICK, _CALL, _ERR: bits 0 to 7 */
    VHOST_RING_NO_FD = 0x100,
};

/* Payloads ("Payload"). */
struct vhost_ring_state {
    uint32_t index, num;
};
struct vhost_ring_addr {
    uint32_t index, flags; /* flags: VHOST_RING_LOG */
    uint64_t desc, used, avail, log;
};
enum { VHOST_RING_LOG = 1 };
struct vhost_region {
    uint64_t guest_addr, size, user_addr, mmap_offset;
};
struct vhost_table {
    uint32_t count, padding;
    struct vhost_region region[VHOST_TABLE_REGIONS];
};
struct vhost_single {
    uint64_t padding;
    struct vhost_region region;
};
struct vhost_log {
    uint64_t size, offset;
};
struct vhost_iotlb {
    uint64_t iova, size, user_addr;
    uint8_t permissions, type;
};
struct vhost_config {
    uint32_t offset, size, flags;
    uint8_t bytes[VHOST_CONFIG_MAX];
};
enum { VHOST_CONFIG_WRITABLE = 0, VHOST_CONFIG_MIGRATION = 1 };
struct vhost_area {
    uint64_t index, size, offset;
};
struct vhost_inflight {
    uint64_t mmap_size, mmap_offset;
    uint16_t queues, queue_size;
};
struct vhost_uuid {
    uint8_t bytes[16];
};
struct vhost_transfer {
    uint32_t direction, phase;
};
enum { VHOST_TRANSFER_SAVE = 0, VHOST_TRANSFER_LOAD = 1, VHOST_TRANSFER_STOPPED = 0 };
struct vhost_shmem_config {
    uint32_t count, padding;
    uint64_t size[VHOST_SHMEM_REGIONS];
};
struct vhost_shmem_map {
    uint8_t id, padding[7];
    uint64_t fd_offset, shm_offset, len, flags;
};

/* From request on as on the socket. */
struct vhost_message {
    unsigned fds;
    int fd[VHOST_FDS_MAX];
    uint32_t request, flags, size; /* size: of the payload */
    union {
        uint64_t u64;
        struct vhost_ring_state state;
        struct vhost_ring_addr addr;
        struct vhost_table table;
        struct vhost_single single;
        struct vhost_log log;
        struct vhost_iotlb iotlb;
        struct vhost_config config;
        struct vhost_area area;
        struct vhost_inflight inflight;
        struct vhost_uuid uuid;
        struct vhost_transfer transfer;
        struct vhost_shmem_config shmem_config;
        struct vhost_shmem_map shmem_map;
        uint8_t bytes[VHOST_PAYLOAD_MAX];
    } payload;
};

/* How a request is answered. */
enum vhost_answer {
    VHOST_ANSWER_ACK, /* by a u64, 0 or an error, where REPLY_ACK is negotiated and NEED_REPLY set */
    VHOST_ANSWER_ALWAYS, /* by a message of its own */
};

struct vhost_rule {
    const char *name; /* "SET_VRING_KICK"; NULL: there is no such request */
    uint16_t bytes_min, bytes_max; /* of the payload */
    uint8_t fds_min, fds_max;
    enum vhost_answer answer;
    uint16_t answer_min, answer_max;
    uint8_t answer_fds_max;
    int8_t feature; /* the protocol feature without which it is not legal; -1: none */
};

/* The row of a request that sender sends, or NULL. */
const struct vhost_rule *vhost_message_rule(enum vhost_role sender, uint32_t request);
/* Name for messages: "SET_VRING_KICK", or "request 99" in text. */
const char *vhost_message_name(enum vhost_role sender, uint32_t request, char text[24]);

/* The header alone: version, and a payload that fits. requester: who sent, or with a reply awaits, the request. 0, or -EPROTO
 * with text. */
int vhost_message_check_header(enum vhost_role requester, const struct vhost_message *untrusted,
                               bool is_reply);
/* The whole message; protocol: the negotiated protocol features. 0; -EPROTO with text; a request only: -EOPNOTSUPP with text
 * (unknown, or its protocol feature is not negotiated). */
int vhost_message_check(enum vhost_role requester, const struct vhost_message *untrusted,
                        bool is_reply, uint64_t protocol);

/* Takes the n-th fd out of a message: it is the caller's. -1 where there is none (any more). */
int vhost_message_take_fd(struct vhost_message *message, unsigned n);
/* Closes the fds that nobody took. */
void vhost_message_drop_fds(struct vhost_message *message);

#endif
