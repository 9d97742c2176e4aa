/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A vhost-user back end for tests of the front end. */
#include "vhost_back_end.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/virtio-queue/inflight.h>

static void forget(struct fake_back_end *b)
{
    for (unsigned n = 0; n < FBE_QUEUES; n++) {
        vm_close(&b->ring[n].kick);
        vm_close(&b->ring[n].call);
        vm_close(&b->ring[n].err);
        memset(&b->ring[n], 0, sizeof(b->ring[n]));
        b->ring[n].kick = b->ring[n].call = b->ring[n].err = -1;
    }
    vm_close(&b->log_fd);
    b->log_count = b->regions = b->removed = 0;
    b->rarp = b->mtu = 0;
    b->listening = false;
    b->table_acks = 0;
    memset(&b->log_area, 0, sizeof(b->log_area));
    memset(&b->transfer, 0, sizeof(b->transfer));
    b->set_features = b->set_protocol = b->status = 0;
    memset(&b->table, 0, sizeof(b->table));
    memset(&b->inflight, 0, sizeof(b->inflight));
}

void fbe_init(struct fake_back_end *b, const struct vm_env *env)
{
    memset(b, 0, sizeof(*b));
    b->env = env;
    for (unsigned n = 0; n < FBE_QUEUES; n++)
        b->ring[n].kick = b->ring[n].call = b->ring[n].err = -1;
    b->log_fd = b->inflight_fd = b->object_fd = -1;
    b->queues = FBE_QUEUES;
    b->slots = 509;
    b->state_answer = 0x100; /* "no fd" */
}

unsigned fbe_when(const struct fake_back_end *b, uint32_t request)
{
    for (unsigned i = 0; i < b->log_count && i < FBE_LOG; i++)
        if (b->log[i] == request)
            return i + 1;
    return 0;
}

unsigned fbe_count(const struct fake_back_end *b, uint32_t request)
{
    unsigned count = 0;

    for (unsigned i = 0; i < b->log_count && i < FBE_LOG; i++)
        count += b->log[i] == request;
    return count;
}

/* Requests with an answer of their own: true, and the answer. */
static int make_log(const struct fake_back_end *b, uint64_t bytes)
{
    int fd;

    if (b->no_inflight_fd)
        return -1;
    if (b->inflight_no_file)
        return vm_eventfd();
    fd = memfd_create("in-flight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd >= 0 && ftruncate(fd, (off_t)(b->inflight_short ? bytes - 1 : bytes)) ? -1 : fd;
}

/* What it shares, and memory that is on its way. */
static bool answer_more(struct fake_back_end *b, struct vhost_message *in,
                        struct vhost_message *out)
{
    switch (in->request) {
    case VHOST_USER_SET_MEM_TABLE:
        if (!b->listening || !in->payload.table.count)
            return false;
        out->size = in->size;
        out->payload.table = in->payload.table;
        for (unsigned i = 0; i < in->payload.table.count; i++) {
            out->payload.table.region[i].user_addr += FBE_BASE;
            out->payload.table.region[i].size += b->table_lie;
        }
        return true;
    case VHOST_USER_POSTCOPY_ADVISE:
        out->size = 0;
        out->fds = !b->no_userfault;
        out->fd[0] = b->no_userfault ? -1 : vm_eventfd();
        return true;
    case VHOST_USER_POSTCOPY_END: b->listening = false; return true;
    case VHOST_USER_GET_SHMEM_CONFIG:
        out->size = 8 + sizeof(b->shmem);
        out->payload.shmem_config = (struct vhost_shmem_config){ .count = b->shmem_count };
        memcpy(out->payload.shmem_config.size, b->shmem, sizeof(b->shmem));
        return true;
    case VHOST_USER_GET_SHARED_OBJECT:
        b->object = in->payload.uuid;
        out->size = 0;
        out->fds = b->object_fd >= 0;
        out->fd[0] = b->object_fd >= 0 ? dup(b->object_fd) : -1;
        return true;
    default: return false;
    }
}

static bool answer(struct fake_back_end *b, struct vhost_message *in, struct vhost_message *out)
{
    switch (in->request) {
    case VHOST_USER_GET_FEATURES: out->payload.u64 = b->features; return true;
    case VHOST_USER_GET_PROTOCOL_FEATURES: out->payload.u64 = b->protocol; return true;
    case VHOST_USER_GET_QUEUE_NUM: out->payload.u64 = b->queues; return true;
    case VHOST_USER_GET_MAX_MEM_SLOTS: out->payload.u64 = b->slots; return true;
    case VHOST_USER_GET_VRING_BASE:
    case VHOST_USER_GET_VRING_BASE_SKIP_DRAIN:
        out->payload.state = in->payload.state;
        out->payload.state.num = b->base_answer;
        b->bases++;
        b->ring[in->payload.state.index % FBE_QUEUES].stopped = true;
        return true;
    case VHOST_USER_GET_CONFIG:
        out->size = in->payload.config.size > b->config_bytes ? 0 : in->size;
        out->payload.config = in->payload.config;
        memcpy(out->payload.config.bytes, b->config, in->payload.config.size);
        return true;
    case VHOST_USER_GET_INFLIGHT_FD:
        out->size = in->size;
        out->payload.inflight = in->payload.inflight;
        out->payload.inflight.mmap_size =
            in->payload.inflight.queues *
            vq_inflight_bytes(in->payload.inflight.queue_size, b->set_features & VQ_F_RING_PACKED);
        out->fd[0] = make_log(b, out->payload.inflight.mmap_size);
        out->fds = out->fd[0] >= 0;
        vm_close(&b->inflight_fd);
        b->inflight_fd = dup(out->fd[0]);
        return true;
    case VHOST_USER_SET_LOG_BASE:
        b->log_area = in->payload.log;
        vm_close(&b->log_fd);
        b->log_fd = vhost_message_take_fd(in, 0);
        out->size = 0;
        return true;
    case VHOST_USER_SET_DEVICE_STATE_FD:
        b->transfer = in->payload.transfer;
        out->payload.u64 = b->state_answer;
        out->fds = b->state_fd;
        out->fd[0] = b->state_fd ? memfd_create("state", MFD_CLOEXEC) : -1;
        return true;
    case VHOST_USER_IOTLB_MSG:
        b->iotlb = in->payload.iotlb;
        out->payload.u64 = b->iotlb_answer;
        return true;
    case VHOST_USER_CHECK_DEVICE_STATE: out->payload.u64 = b->check_answer; return true;
    default: return answer_more(b, in, out);
    }
}

static void take_ring(struct fake_back_end *b, struct vhost_message *m)
{
    unsigned n = m->payload.state.index % FBE_QUEUES, fd_of = (unsigned)(m->payload.u64 & 7);

    switch (m->request) {
    case VHOST_USER_SET_VRING_NUM: b->ring[n].size = m->payload.state.num; break;
    case VHOST_USER_SET_VRING_BASE: b->ring[n].base = m->payload.state.num; break;
    case VHOST_USER_SET_VRING_ADDR: b->ring[n].addr = m->payload.addr; break;
    case VHOST_USER_SET_VRING_ENABLE: b->ring[n].enabled = m->payload.state.num; break;
    case VHOST_USER_SET_VRING_KICK:
        vm_close(&b->ring[fd_of].kick);
        b->ring[fd_of].kick = vhost_message_take_fd(m, 0);
        break;
    case VHOST_USER_SET_VRING_CALL:
        vm_close(&b->ring[fd_of].call);
        b->ring[fd_of].call = vhost_message_take_fd(m, 0);
        break;
    case VHOST_USER_SET_VRING_ERR:
        vm_close(&b->ring[fd_of].err);
        b->ring[fd_of].err = vhost_message_take_fd(m, 0);
        break;
    default: break;
    }
}

static int on_answer(void *ctx, struct vhost_message *m)
{
    struct fake_back_end *b = ctx;

    b->asks_answer = m->payload.u64;
    b->asks_fds = m->fds;
    b->asks_answers++;
    return 0;
}

static void on_asks_closed(void *ctx, const struct vm_error *why)
{
    struct fake_back_end *b = ctx;

    (void)why;
    vhost_channel_free(b->asks);
    b->asks = NULL;
}

static void take(struct fake_back_end *b, struct vhost_message *m)
{
    static const struct vhost_channel_ops asks_ops = { on_answer, on_asks_closed };

    switch (m->request) {
    case VHOST_USER_SET_FEATURES: b->set_features = m->payload.u64; break;
    case VHOST_USER_SET_PROTOCOL_FEATURES:
        b->set_protocol = m->payload.u64;
        vhost_channel_set_protocol(b->channel, m->payload.u64);
        break;
    case VHOST_USER_SEND_RARP: b->rarp = m->payload.u64; break;
    case VHOST_USER_NET_SET_MTU: b->mtu = m->payload.u64; break;
    case VHOST_USER_SET_STATUS: b->status = m->payload.u64; break;
    case VHOST_USER_POSTCOPY_LISTEN: b->listening = true; break;
    case VHOST_USER_SET_MEM_TABLE:
        if (b->listening)
            b->table_acks++;
        else
            b->table = m->payload.table;
        break;
    case VHOST_USER_ADD_MEM_REG:
        b->regions++;
        b->last_added = m->payload.single.region;
        break;
    case VHOST_USER_REM_MEM_REG:
        b->removed++;
        b->last_removed = m->payload.single.region;
        break;
    case VHOST_USER_SET_CONFIG: b->set_config = m->payload.config; break;
    case VHOST_USER_SET_INFLIGHT_FD: b->inflight = m->payload.inflight; break;
    case VHOST_USER_SET_BACKEND_REQ_FD:
        if (!vhost_channel_new(b->env, vhost_message_take_fd(m, 0), VHOST_BACK, true, &asks_ops, b,
                               &b->asks))
            vhost_channel_set_protocol(b->asks, b->set_protocol);
        break;
    default: take_ring(b, m); break;
    }
}

static int on_request(void *ctx, struct vhost_message *m)
{
    struct vhost_message out = { .request = m->request,
                                 .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                                 .size = vhost_message_rule(VHOST_FRONT, m->request)->answer_max };
    struct fake_back_end *b = ctx;
    int rc = 0;

    if (b->log_count < FBE_LOG)
        b->log[b->log_count++] = m->request;
    if (m->request == b->silent)
        return 0;
    if (answer(b, m, &out)) {
        if (m->request == b->swaps)
            out.request = VHOST_USER_GET_STATUS;
        rc = vhost_channel_send(b->channel, &out);
        vhost_message_drop_fds(&out);
        return rc;
    }
    take(b, m);
    return vhost_channel_ack(b->channel, m, m->request == b->refuses);
}

static void on_closed(void *ctx, const struct vm_error *why)
{
    struct fake_back_end *b = ctx;

    (void)why;
    b->closed++;
    fbe_die(b);
}

int fbe_ask(struct fake_back_end *b, const struct vhost_message *m)
{
    return b->asks ? vhost_channel_send(b->asks, m) : -ENOTCONN;
}

int fbe_serve(struct fake_back_end *b, int fd)
{
    static const struct vhost_channel_ops ops = { on_request, on_closed };

    forget(b);
    return vhost_channel_new(b->env, fd, VHOST_BACK, false, &ops, b, &b->channel);
}

void fbe_die(struct fake_back_end *b)
{
    if (b->inflight_cut)
        (void)!ftruncate(b->inflight_fd, 0);
    vm_close(&b->inflight_fd);
    vhost_channel_free(b->channel);
    vhost_channel_free(b->asks);
    b->channel = b->asks = NULL;
    forget(b);
}
