/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The messages of vhost-user: their table, and the check of a message's shape. QEMU docs/interop/vhost-user.rst. */
#include <errno.h>
#include <stdio.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/util.h>
#include <vmm/vhost/message.h>

enum {
    U64 = sizeof(uint64_t),
    STATE = sizeof(struct vhost_ring_state),
    ADDR = sizeof(struct vhost_ring_addr),
    TABLE_HEADER = 8,
    TABLE = sizeof(struct vhost_table),
    SINGLE = sizeof(struct vhost_single),
    LOG = sizeof(struct vhost_log),
    /* Some senders do not send a struct's padding. */
    IOTLB_SHORT = 26,
    IOTLB = sizeof(struct vhost_iotlb),
    INFLIGHT_SHORT = 20,
    INFLIGHT = sizeof(struct vhost_inflight),
    AREA = sizeof(struct vhost_area),
    UUID = sizeof(struct vhost_uuid),
    TRANSFER = sizeof(struct vhost_transfer),
    SHMEM_HEADER = 8,
    SHMEM = sizeof(struct vhost_shmem_config),
    SHMEM_MAP = sizeof(struct vhost_shmem_map),
    CONFIG = VHOST_PAYLOAD_MAX,
};

/* The layouts on the socket. */
_Static_assert(STATE == 8 && ADDR == 40 && TABLE == 264 && SINGLE == 40 && LOG == 16, "payloads");
_Static_assert(IOTLB == 32 && INFLIGHT == 24 && AREA == 24, "payloads");
_Static_assert(offsetof(struct vhost_message, payload) ==
                   offsetof(struct vhost_message, request) + VHOST_HEADER_BYTES,
               "header and payload lie together");
_Static_assert(SHMEM == 2056 && SHMEM_MAP == 40, "payloads");
_Static_assert(offsetof(struct vhost_config, bytes) == VHOST_CONFIG_HEADER, "payloads");

#define FEATURE(f)     .feature = VHOST_USER_PROTOCOL_F_##f
#define ANY            .feature = -1
#define BYTES(n)       .bytes_min = (n), .bytes_max = (n)
#define RANGE(lo, hi)  .bytes_min = (lo), .bytes_max = (hi)
#define FDS(lo, hi)    .fds_min = (lo), .fds_max = (hi)
#define ANSWER(lo, hi) .answer = VHOST_ANSWER_ALWAYS, .answer_min = (lo), .answer_max = (hi)
#define FRONT(id, ...) [VHOST_USER_##id] = { .name = #id, __VA_ARGS__ }
#define BACK(id, ...)  [VHOST_USER_BACKEND_##id] = { .name = "BACKEND_" #id, __VA_ARGS__ }

static const struct vhost_rule front_rules[VHOST_FRONT_REQUESTS] = {
    FRONT(GET_FEATURES, ANY, ANSWER(U64, U64)),
    FRONT(SET_FEATURES, ANY, BYTES(U64)),
    FRONT(SET_OWNER, ANY),
    FRONT(RESET_OWNER, ANY),
    /* Answered by a table while memory is copied after the move (POSTCOPY_LISTEN), by the usual acknowledgement otherwise. */
    FRONT(SET_MEM_TABLE, ANY, RANGE(TABLE_HEADER, TABLE), FDS(0, VHOST_FDS_MAX),
          .answer_max = TABLE),
    /* With LOG_SHMFD it is always answered; by what is not said, and an empty payload and a u64 are both met. */
    FRONT(SET_LOG_BASE, ANY, RANGE(U64, LOG), FDS(0, 1), ANSWER(0, LOG)),
    FRONT(SET_LOG_FD, ANY, RANGE(0, U64), FDS(1, 1)),
    FRONT(SET_VRING_NUM, ANY, BYTES(STATE)),
    FRONT(SET_VRING_ADDR, ANY, BYTES(ADDR)),
    FRONT(SET_VRING_BASE, ANY, BYTES(STATE)),
    FRONT(GET_VRING_BASE, ANY, BYTES(STATE), ANSWER(STATE, STATE)),
    FRONT(SET_VRING_KICK, ANY, BYTES(U64), FDS(0, 1)),
    FRONT(SET_VRING_CALL, ANY, BYTES(U64), FDS(0, 1)),
    FRONT(SET_VRING_ERR, ANY, BYTES(U64), FDS(0, 1)),
    FRONT(GET_PROTOCOL_FEATURES, ANY, ANSWER(U64, U64)),
    FRONT(SET_PROTOCOL_FEATURES, ANY, BYTES(U64)),
    FRONT(GET_QUEUE_NUM, FEATURE(MQ), ANSWER(U64, U64)),
    FRONT(SET_VRING_ENABLE, ANY, BYTES(STATE)),
    FRONT(SEND_RARP, FEATURE(RARP), BYTES(U64)),
    FRONT(NET_SET_MTU, FEATURE(MTU), BYTES(U64)),
    FRONT(SET_BACKEND_REQ_FD, FEATURE(BACKEND_REQ), RANGE(0, U64), FDS(1, 1)),
    FRONT(IOTLB_MSG, ANY, RANGE(IOTLB_SHORT, IOTLB), ANSWER(U64, U64)),
    FRONT(SET_VRING_ENDIAN, FEATURE(CROSS_ENDIAN), BYTES(STATE)),
    FRONT(GET_CONFIG, FEATURE(CONFIG), RANGE(VHOST_CONFIG_HEADER, CONFIG), ANSWER(0, CONFIG)),
    FRONT(SET_CONFIG, FEATURE(CONFIG), RANGE(VHOST_CONFIG_HEADER, CONFIG)),
    FRONT(POSTCOPY_ADVISE, FEATURE(PAGEFAULT), ANSWER(0, U64), .answer_fds_max = 1),
    FRONT(POSTCOPY_LISTEN, FEATURE(PAGEFAULT)),
    FRONT(POSTCOPY_END, FEATURE(PAGEFAULT), ANSWER(U64, U64)),
    FRONT(GET_INFLIGHT_FD, FEATURE(INFLIGHT_SHMFD), RANGE(INFLIGHT_SHORT, INFLIGHT),
          ANSWER(INFLIGHT_SHORT, INFLIGHT), .answer_fds_max = 1),
    FRONT(SET_INFLIGHT_FD, FEATURE(INFLIGHT_SHMFD), RANGE(INFLIGHT_SHORT, INFLIGHT), FDS(1, 1)),
    FRONT(RESET_DEVICE, FEATURE(RESET_DEVICE)),
    FRONT(VRING_KICK, FEATURE(INBAND_NOTIFICATIONS), BYTES(STATE)),
    FRONT(GET_MAX_MEM_SLOTS, FEATURE(CONFIGURE_MEM_SLOTS), ANSWER(U64, U64)),
    FRONT(ADD_MEM_REG, FEATURE(CONFIGURE_MEM_SLOTS), BYTES(SINGLE), FDS(1, 1)),
    FRONT(REM_MEM_REG, FEATURE(CONFIGURE_MEM_SLOTS), BYTES(SINGLE), FDS(0, 1)),
    FRONT(SET_STATUS, FEATURE(STATUS), BYTES(U64)),
    FRONT(GET_STATUS, FEATURE(STATUS), ANSWER(U64, U64)),
    FRONT(GET_SHARED_OBJECT, FEATURE(SHARED_OBJECT), BYTES(UUID), ANSWER(0, UUID),
          .answer_fds_max = 1),
    FRONT(SET_DEVICE_STATE_FD, FEATURE(DEVICE_STATE), BYTES(TRANSFER), FDS(1, 1), ANSWER(U64, U64),
          .answer_fds_max = 1),
    FRONT(CHECK_DEVICE_STATE, FEATURE(DEVICE_STATE), ANSWER(U64, U64)),
    FRONT(GET_SHMEM_CONFIG, FEATURE(SHMEM), ANSWER(SHMEM_HEADER, SHMEM)),
    FRONT(GET_VRING_BASE_SKIP_DRAIN, FEATURE(GET_VRING_BASE_SKIP_DRAIN), BYTES(STATE),
          ANSWER(STATE, STATE)),
};

static const struct vhost_rule back_rules[VHOST_BACK_REQUESTS] = {
    BACK(IOTLB_MSG, ANY, RANGE(IOTLB_SHORT, IOTLB)),
    BACK(CONFIG_CHANGE_MSG, FEATURE(CONFIG)),
    BACK(VRING_HOST_NOTIFIER_MSG, FEATURE(HOST_NOTIFIER), BYTES(AREA), FDS(0, 1)),
    BACK(VRING_CALL, FEATURE(INBAND_NOTIFICATIONS), BYTES(STATE)),
    BACK(VRING_ERR, FEATURE(INBAND_NOTIFICATIONS), BYTES(STATE)),
    BACK(SHARED_OBJECT_ADD, FEATURE(SHARED_OBJECT), BYTES(UUID)),
    BACK(SHARED_OBJECT_REMOVE, FEATURE(SHARED_OBJECT), BYTES(UUID)),
    BACK(SHARED_OBJECT_LOOKUP, FEATURE(SHARED_OBJECT), BYTES(UUID), ANSWER(U64, U64),
         .answer_fds_max = 1),
    BACK(SHMEM_MAP, FEATURE(SHMEM), BYTES(SHMEM_MAP), FDS(1, 1)),
    BACK(SHMEM_UNMAP, FEATURE(SHMEM), BYTES(SHMEM_MAP)),
};

const struct vhost_rule *vhost_message_rule(enum vhost_role sender, uint32_t request)
{
    const struct vhost_rule *rules = sender == VHOST_FRONT ? front_rules : back_rules;
    uint32_t count = sender == VHOST_FRONT ? VHOST_FRONT_REQUESTS : VHOST_BACK_REQUESTS;

    return request < count && rules[request].name ? &rules[request] : NULL;
}

const char *vhost_message_name(enum vhost_role sender, uint32_t request, char text[24])
{
    const struct vhost_rule *rule = vhost_message_rule(sender, request);

    if (rule)
        return rule->name;
    snprintf(text, 24, "request %u", request);
    return text;
}

int vhost_message_check_header(enum vhost_role requester, const struct vhost_message *untrusted,
                               bool is_reply)
{
    char text[24];
    const char *name = vhost_message_name(requester, untrusted->request, text);

    if ((untrusted->flags & VHOST_MESSAGE_VERSION_MASK) != VHOST_MESSAGE_VERSION)
        return vm_fail(-EPROTO, "%s: version %u in its flags, not 1", name,
                       untrusted->flags & VHOST_MESSAGE_VERSION_MASK);
    if (is_reply != !!(untrusted->flags & VHOST_MESSAGE_REPLY))
        return vm_fail(-EPROTO, "%s: %s where a %s was awaited", name,
                       is_reply ? "request" : "reply", is_reply ? "reply" : "request");
    if (untrusted->size > VHOST_PAYLOAD_MAX)
        return vm_fail(-EPROTO, "%s: payload of %u bytes, at most %d are allowed", name,
                       untrusted->size, VHOST_PAYLOAD_MAX);
    return 0;
}

/* The rows give ranges; what counts inside the payload must agree with its size. */
static int check_counts(const char *name, const struct vhost_message *m)
{
    if (m->request == VHOST_USER_SET_MEM_TABLE &&
        (m->payload.table.count > VHOST_TABLE_REGIONS ||
         m->size < TABLE_HEADER + m->payload.table.count * sizeof(struct vhost_region) ||
         m->fds != m->payload.table.count))
        return vm_fail(-EPROTO, "%s: %u regions in %u bytes with %u fds", name,
                       m->payload.table.count, m->size, m->fds);
    if ((m->request == VHOST_USER_GET_CONFIG || m->request == VHOST_USER_SET_CONFIG) &&
        m->size >= VHOST_CONFIG_HEADER && m->payload.config.size > m->size - VHOST_CONFIG_HEADER)
        return vm_fail(-EPROTO, "%s: %u bytes of config space in a payload of %u", name,
                       m->payload.config.size, m->size);
    return 0;
}

static int check_range(const char *name, const struct vhost_message *m, uint16_t lo, uint16_t hi)
{
    if (m->size >= lo && m->size <= hi)
        return 0;
    if (lo == hi)
        return vm_fail(-EPROTO, "%s: payload of %u bytes instead of %u", name, m->size, lo);
    return vm_fail(-EPROTO, "%s: payload of %u bytes, not within %u to %u", name, m->size, lo, hi);
}

static int check_reply(const struct vhost_rule *rule, enum vhost_role requester,
                       const struct vhost_message *m)
{
    int rc;

    if (m->fds > rule->answer_fds_max)
        return vm_fail(-EPROTO, "%s: reply with %u fds, at most %u are allowed", rule->name, m->fds,
                       rule->answer_fds_max);
    if (rule->answer == VHOST_ANSWER_ALWAYS)
        rc = check_range(rule->name, m, rule->answer_min, rule->answer_max);
    else
        rc = check_range(rule->name, m, U64, rule->answer_max ? rule->answer_max : U64);
    if (!rc && requester == VHOST_FRONT && m->request == VHOST_USER_GET_CONFIG)
        rc = check_counts(rule->name, m);
    if (!rc && requester == VHOST_FRONT && m->request == VHOST_USER_GET_SHMEM_CONFIG &&
        m->payload.shmem_config.count > (m->size - SHMEM_HEADER) / sizeof(uint64_t))
        rc = vm_fail(-EPROTO, "%s: %u regions in a payload of %u bytes", rule->name,
                     m->payload.shmem_config.count, m->size);
    return rc;
}

static int check_request(const struct vhost_rule *rule, enum vhost_role requester,
                         const struct vhost_message *m, uint64_t protocol)
{
    int rc;

    if (rule->feature >= 0 && !(protocol >> rule->feature & 1))
        return vm_fail(-EOPNOTSUPP, "%s: its protocol feature (bit %d) was not negotiated",
                       rule->name, rule->feature);
    rc = check_range(rule->name, m, rule->bytes_min, rule->bytes_max);
    if (rc)
        return rc;
    if (m->fds < rule->fds_min || m->fds > rule->fds_max)
        return vm_fail(-EPROTO, "%s: %u fds, not within %u to %u", rule->name, m->fds,
                       rule->fds_min, rule->fds_max);
    if (requester == VHOST_BACK && m->fds && !(protocol & VHOST_PROTOCOL(BACKEND_SEND_FD)))
        return vm_fail(-EPROTO, "%s: %u fds, and BACKEND_SEND_FD was not negotiated", rule->name,
                       m->fds);
    return requester == VHOST_FRONT ? check_counts(rule->name, m) : 0;
}

int vhost_message_check(enum vhost_role requester, const struct vhost_message *untrusted,
                        bool is_reply, uint64_t protocol)
{
    const struct vhost_rule *rule = vhost_message_rule(requester, untrusted->request);
    int rc = vhost_message_check_header(requester, untrusted, is_reply);

    if (rc)
        return rc;
    if (!rule)
        return vm_fail(is_reply ? -EPROTO : -EOPNOTSUPP, "request %u: not known",
                       untrusted->request);
    return is_reply ? check_reply(rule, requester, untrusted)
                    : check_request(rule, requester, untrusted, protocol);
}

int vhost_message_take_fd(struct vhost_message *message, unsigned n)
{
    int fd;

    if (n >= message->fds)
        return -1;
    fd = message->fd[n];
    message->fd[n] = -1;
    return fd;
}

void vhost_message_drop_fds(struct vhost_message *message)
{
    for (unsigned i = 0; i < message->fds; i++)
        vm_close(&message->fd[i]);
    message->fds = 0;
}
