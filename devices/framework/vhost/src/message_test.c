/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/vhost/message.h>

#define ALL UINT64_MAX

static struct vhost_message request(uint32_t id, uint32_t size, unsigned fds)
{
    struct vhost_message m = {
        .request = id, .flags = VHOST_MESSAGE_VERSION, .size = size, .fds = fds
    };

    for (unsigned i = 0; i < fds && i < VHOST_FDS_MAX; i++)
        m.fd[i] = -1;
    return m;
}

static struct vhost_message reply(uint32_t id, uint32_t size, unsigned fds)
{
    struct vhost_message m = request(id, size, fds);

    m.flags |= VHOST_MESSAGE_REPLY;
    return m;
}

#define REFUSED(code, text, ...)                                \
    do {                                                        \
        cr_assert_eq(vhost_message_check(__VA_ARGS__), (code)); \
        cr_assert_str_eq(vm_error_text(), (text));              \
    } while (0)

Test(message, every_request_of_the_specification_has_a_row_with_its_number)
{
    char text[24];

    cr_assert_str_eq(vhost_message_name(VHOST_FRONT, 1, text), "GET_FEATURES");
    cr_assert_str_eq(vhost_message_name(VHOST_FRONT, 12, text), "SET_VRING_KICK");
    cr_assert_str_eq(vhost_message_name(VHOST_FRONT, 32, text), "SET_INFLIGHT_FD");
    cr_assert_str_eq(vhost_message_name(VHOST_FRONT, 44, text), "GET_SHMEM_CONFIG");
    cr_assert_str_eq(vhost_message_name(VHOST_BACK, 3, text), "BACKEND_VRING_HOST_NOTIFIER_MSG");
    cr_assert_str_eq(vhost_message_name(VHOST_BACK, 10, text), "BACKEND_SHMEM_UNMAP");
}

Test(message, an_unknown_request_is_called_by_its_number)
{
    char text[24];

    cr_assert_str_eq(vhost_message_name(VHOST_FRONT, 0, text), "request 0");
    cr_assert_str_eq(vhost_message_name(VHOST_FRONT, UINT32_MAX, text), "request 4294967295");
    cr_assert_null(vhost_message_rule(VHOST_FRONT, 26)); /* crypto sessions: not served */
    cr_assert_null(vhost_message_rule(VHOST_BACK, 11));
}

Test(message, a_request_of_the_right_size_passes)
{
    struct vhost_message m = request(VHOST_USER_SET_VRING_KICK, 8, 1);

    cr_assert_eq(vhost_message_check(VHOST_FRONT, &m, false, 0), 0);
}

Test(message, an_unknown_request_is_not_a_broken_one)
{
    struct vhost_message m = request(99, 0, 0);

    REFUSED(-EOPNOTSUPP, "request 99: not known", VHOST_FRONT, &m, false, ALL);
}

Test(message, a_reply_to_no_known_request_is_broken)
{
    struct vhost_message m = reply(99, 0, 0);

    REFUSED(-EPROTO, "request 99: not known", VHOST_FRONT, &m, true, ALL);
}

Test(message, a_request_needs_its_protocol_feature)
{
    struct vhost_message m = request(VHOST_USER_GET_QUEUE_NUM, 0, 0);

    REFUSED(-EOPNOTSUPP, "GET_QUEUE_NUM: its protocol feature (bit 0) was not negotiated",
            VHOST_FRONT, &m, false, ALL & ~VHOST_PROTOCOL(MQ));
    cr_assert_eq(vhost_message_check(VHOST_FRONT, &m, false, VHOST_PROTOCOL(MQ)), 0);
}

Test(message, other_versions_are_refused)
{
    struct vhost_message m = request(VHOST_USER_GET_FEATURES, 0, 0);

    m.flags = 2;
    REFUSED(-EPROTO, "GET_FEATURES: version 2 in its flags, not 1", VHOST_FRONT, &m, false, ALL);
}

Test(message, requests_and_replies_are_told_apart)
{
    struct vhost_message m = request(VHOST_USER_GET_FEATURES, 8, 0),
                         r = reply(VHOST_USER_GET_FEATURES, 8, 0);

    REFUSED(-EPROTO, "GET_FEATURES: request where a reply was awaited", VHOST_FRONT, &m, true, ALL);
    REFUSED(-EPROTO, "GET_FEATURES: reply where a request was awaited", VHOST_FRONT, &r, false,
            ALL);
}

Test(message, wrong_payloads_are_refused)
{
    struct vhost_message shorter = request(VHOST_USER_SET_VRING_NUM, 7, 0);
    struct vhost_message longer = request(VHOST_USER_SET_VRING_ADDR, 41, 0);
    struct vhost_message huge = request(VHOST_USER_SET_CONFIG, 4109, 0);

    REFUSED(-EPROTO, "SET_VRING_NUM: payload of 7 bytes instead of 8", VHOST_FRONT, &shorter, false,
            ALL);
    REFUSED(-EPROTO, "SET_VRING_ADDR: payload of 41 bytes instead of 40", VHOST_FRONT, &longer,
            false, ALL);
    REFUSED(-EPROTO, "SET_CONFIG: payload of 4109 bytes, at most 4108 are allowed", VHOST_FRONT,
            &huge, false, ALL);
}

Test(message, structs_without_their_padding_are_met_and_pass)
{
    struct vhost_message iotlb = request(VHOST_USER_IOTLB_MSG, 26, 0);
    struct vhost_message inflight = request(VHOST_USER_SET_INFLIGHT_FD, 20, 1);

    cr_assert_eq(vhost_message_check(VHOST_FRONT, &iotlb, false, ALL), 0);
    cr_assert_eq(vhost_message_check(VHOST_FRONT, &inflight, false, ALL), 0);
}

Test(message, wrong_numbers_of_fds_are_refused)
{
    struct vhost_message none = request(VHOST_USER_ADD_MEM_REG, 40, 0);
    struct vhost_message two = request(VHOST_USER_SET_VRING_CALL, 8, 2);
    struct vhost_message r = reply(VHOST_USER_GET_FEATURES, 8, 1);

    REFUSED(-EPROTO, "ADD_MEM_REG: 0 fds, not within 1 to 1", VHOST_FRONT, &none, false, ALL);
    REFUSED(-EPROTO, "SET_VRING_CALL: 2 fds, not within 0 to 1", VHOST_FRONT, &two, false, ALL);
    REFUSED(-EPROTO, "GET_FEATURES: reply with 1 fds, at most 0 are allowed", VHOST_FRONT, &r, true,
            ALL);
}

Test(message, a_memory_table_has_one_fd_and_one_row_for_each_region)
{
    struct vhost_message m = request(VHOST_USER_SET_MEM_TABLE, 8 + 2 * 32, 2);

    m.payload.table.count = 2;
    cr_assert_eq(vhost_message_check(VHOST_FRONT, &m, false, 0), 0);
    m.fds = 1;
    REFUSED(-EPROTO, "SET_MEM_TABLE: 2 regions in 72 bytes with 1 fds", VHOST_FRONT, &m, false, 0);
    m.fds = 3;
    m.payload.table.count = 3;
    REFUSED(-EPROTO, "SET_MEM_TABLE: 3 regions in 72 bytes with 3 fds", VHOST_FRONT, &m, false, 0);
    m.payload.table.count = UINT32_MAX;
    REFUSED(-EPROTO, "SET_MEM_TABLE: 4294967295 regions in 72 bytes with 3 fds", VHOST_FRONT, &m,
            false, 0);
}

Test(message, config_bytes_lie_inside_the_payload_in_both_directions)
{
    struct vhost_message m = request(VHOST_USER_SET_CONFIG, 12 + 4, 0),
                         r = reply(VHOST_USER_GET_CONFIG, 12 + 4, 0);

    m.payload.config.size = r.payload.config.size = 4;
    cr_assert_eq(vhost_message_check(VHOST_FRONT, &m, false, ALL), 0);
    cr_assert_eq(vhost_message_check(VHOST_FRONT, &r, true, ALL), 0);
    m.payload.config.size = r.payload.config.size = 5;
    REFUSED(-EPROTO, "SET_CONFIG: 5 bytes of config space in a payload of 16", VHOST_FRONT, &m,
            false, ALL);
    REFUSED(-EPROTO, "GET_CONFIG: 5 bytes of config space in a payload of 16", VHOST_FRONT, &r,
            true, ALL);
}

Test(message, an_empty_config_reply_is_the_peers_error_and_well_formed)
{
    struct vhost_message r = reply(VHOST_USER_GET_CONFIG, 0, 0);

    cr_assert_eq(vhost_message_check(VHOST_FRONT, &r, true, ALL), 0);
}

Test(message, shared_memory_sizes_lie_inside_the_payload)
{
    struct vhost_message r = reply(VHOST_USER_GET_SHMEM_CONFIG, 8 + 2 * 8, 0);

    r.payload.shmem_config.count = 2;
    cr_assert_eq(vhost_message_check(VHOST_FRONT, &r, true, ALL), 0);
    r.payload.shmem_config.count = 3;
    REFUSED(-EPROTO, "GET_SHMEM_CONFIG: 3 regions in a payload of 24 bytes", VHOST_FRONT, &r, true,
            ALL);
}

Test(message, an_acknowledgement_is_a_number)
{
    struct vhost_message good = reply(VHOST_USER_SET_VRING_ADDR, 8, 0),
                         bad = reply(VHOST_USER_SET_VRING_ADDR, 40, 0);

    cr_assert_eq(vhost_message_check(VHOST_FRONT, &good, true, ALL), 0);
    REFUSED(-EPROTO, "SET_VRING_ADDR: payload of 40 bytes instead of 8", VHOST_FRONT, &bad, true,
            ALL);
}

Test(message, the_back_ends_requests_have_rules_of_their_own)
{
    struct vhost_message m = request(VHOST_USER_BACKEND_SHMEM_MAP, 40, 0);

    REFUSED(-EPROTO, "BACKEND_SHMEM_MAP: 0 fds, not within 1 to 1", VHOST_BACK, &m, false, ALL);
    m.fds = 1;
    cr_assert_eq(vhost_message_check(VHOST_BACK, &m, false, ALL), 0);
}

Test(message, a_taken_fd_stays_open_and_the_others_are_closed)
{
    struct vhost_message m = { .fds = 2, .fd = { dup(0), dup(0) } };
    int other = m.fd[1], mine = vhost_message_take_fd(&m, 0);

    vhost_message_drop_fds(&m);

    cr_assert_geq(fcntl(mine, F_GETFD), 0);
    cr_assert_lt(fcntl(other, F_GETFD), 0);
    cr_assert_eq(vhost_message_take_fd(&m, 0), -1);
    close(mine);
}
