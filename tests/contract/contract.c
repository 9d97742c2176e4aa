/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device of any class, in a machine, used and misused. */
#include "contract.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

enum { IMAGE_BYTES = 1 << 20, REGION_BYTES = 0x100, REGION_STEP = 0x1000 };

/* Nobody comes, nobody is there. */
static int open_socket(unsigned how)
{
    const struct sockaddr_un any = { .sun_family =
                                         AF_UNIX }; /* the kernel chooses a name: unix(7) */
    int type = how & VM_OPEN_SEQPACKET || how & VM_OPEN_DIAL ? SOCK_SEQPACKET : SOCK_STREAM;
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof(sa_family_t)) || listen(fd, 4))
        return vm_fail_errno("socket");
    return fd;
}

/* One file for every name, the same for the life of the harness (h->ctx is its fd + 1). */
int contract_open_image(void *ctx, const char *name, unsigned how)
{
    struct vh *h = ctx;
    int fd;

    (void)name;
    if (how & (VM_OPEN_LISTEN | VM_OPEN_DIAL))
        return open_socket(how);
    if (!h->ctx) {
        fd = memfd_create("image", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, IMAGE_BYTES))
            return vm_fail_errno("image");
        h->ctx = (void *)(intptr_t)(fd + 1);
    }
    fd = fcntl((int)(intptr_t)h->ctx - 1, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? vm_fail_errno("image") : fd;
}

static const char *value_for(const struct vm_prop *prop, char buf[32])
{
    uint64_t least = prop->min ? prop->min : 1;

    switch (prop->type) {
    case VM_PROP_U32:
    case VM_PROP_U64:
    case VM_PROP_SIZE: snprintf(buf, 32, "%llu", (unsigned long long)least); return buf;
    case VM_PROP_ENUM: return prop->values[0];
    case VM_PROP_BOOL: return "on";
    default: return strcmp(prop->name, "socket") != 0 ? "image" : "socket"; /* no file is there */
    }
}

void contract_options(const struct vdev_class *cls, char ret_options[CONTRACT_OPTIONS])
{
    size_t len = 0;
    char buf[32];

    ret_options[0] = 0;
    if (cls->backend == VDEV_BACKEND_CHAR)
        len = (size_t)snprintf(ret_options, CONTRACT_OPTIONS, "mode=null%s",
                               vm_prop_find(cls->props, "ports", strlen("ports"))
                                   ? ",ports=[[name=org.vmm.test,mode=null],[console=on,mode=null]]"
                                   : "");
    if (cls->backend == VDEV_BACKEND_NET)
        len = (size_t)snprintf(ret_options, CONTRACT_OPTIONS,
                               "mode=none,mac=52:54:00:12:34:56,num_queues=4,rss=on,hash=on");
    if (cls->dials)
        len = (size_t)snprintf(ret_options, CONTRACT_OPTIONS, "socket=socket");
    for (const struct vm_prop *p = cls->props; p && p->name; p++)
        if (p->required && len < CONTRACT_OPTIONS)
            len += (size_t)snprintf(ret_options + len, CONTRACT_OPTIONS - len, "%s%s=%s",
                                    len ? "," : "", p->name, value_for(p, buf));
}

static int create(struct vh *h, const struct vdev_class *cls, const char *more)
{
    char options[CONTRACT_OPTIONS];
    size_t len;

    contract_options(cls, options);
    len = strlen(options);
    if (more)
        snprintf(options + len, sizeof(options) - len, "%s%s", len ? "," : "", more);
    return vh_create(h, cls, options[0] ? options : NULL);
}

int contract_open(struct vh *h, const struct vdev_class *cls, struct vh_config c)
{
    return contract_open_with(h, cls, c, NULL);
}

int contract_open_with(struct vh *h, const struct vdev_class *cls, struct vh_config c,
                       const char *more)
{
    int rc;

    c.ram_bytes = CONTRACT_RAM;
    if (cls->kind != VDEV_VIRTIO)
        c.transport = VH_NO_TRANSPORT;
    rc = vh_open(h, &c);
    h->open = contract_open_image;
    for (unsigned i = 0; i < VDEV_RESOURCES_MAX; i++)
        h->resource[i] = (struct vdev_resource){ .type = VDEV_RES_MMIO,
                                                 .base = REGION_STEP * (i + 1),
                                                 .size = REGION_BYTES };
    return rc ? rc : create(h, cls, more);
}

int contract_replace(struct vh *h, const struct vdev_class *cls)
{
    vh_destroy(h);
    return create(h, cls, NULL);
}

void contract_close(struct vh *h)
{
    int fd = (int)(intptr_t)h->ctx - 1;

    vh_close(h);
    vm_close(&fd);
}

/* One to four buffers in a sound order, at places of their own. */
static size_t make_chain(struct vh *h, uint16_t n, struct fake_buf bufs[4])
{
    size_t count = 1 + vh_random(h) % 4, readable = vh_random(h) % (count + 1);

    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[32];
        uint32_t len = vh_random(h) % 4 ? 16 : (uint32_t)(vh_random(h) % 600);

        bufs[i] = (struct fake_buf){ fake_driver_alloc(&h->drv[n], len), len, i >= readable };
        for (size_t b = 0; b < sizeof(bytes);
             b++) /* small numbers are more often types and lengths */
            bytes[b] = (uint8_t)(vh_random(h) % (b % 4 ? 2 : 16));
        if (bufs[i].addr)
            fake_driver_write(&h->drv[n], bufs[i].addr, bytes,
                              len < sizeof(bytes) ? len : sizeof(bytes));
        else
            bufs[i] = (struct fake_buf){ 0x1000, 16, i >= readable };
    }
    return count;
}

static void offer(struct vh *h, uint16_t n)
{
    struct fake_buf bufs[4];

    for (unsigned i = 0; i < 8; i++) {
        size_t count = make_chain(h, n, bufs);

        (void)fake_driver_offer(&h->drv[n], bufs, count);
    }
    vh_kick(h, n);
}

void contract_offer(struct vh *h)
{
    for (uint16_t n = 0; n < vh_queues(h) && n < VH_QUEUES; n++)
        offer(h, n);
}

int contract_use(struct vh *h)
{
    int rc = vh_start(h, 0);

    for (uint16_t n = 0; !rc && n < vh_queues(h) && n < VH_QUEUES; n++) {
        offer(h, n);
        rc = vh_idle(h);
    }
    return rc;
}

static int break_index(struct fake_driver *drv, bool packed)
{
    struct fake_buf b = { 0x1000, 16, true };
    int id = fake_driver_offer(drv, &b, 1);

    if (id < 0)
        return id;
    if (packed)
        return fake_driver_corrupt(drv, 0, FAKE_F_WRITE, drv->size);
    return fake_driver_corrupt_avail(drv, 0, drv->size);
}

bool contract_break_ring(struct vh *h, uint16_t n, enum contract_break how)
{
    struct fake_buf bufs[2] = { { 0x1000, 16, false }, { 0x2000, 16, true } };
    bool packed = h->features & VQ_F_RING_PACKED;
    struct fake_driver *drv = &h->drv[n];
    struct fake_desc table = { .len = 0, .addr = 0x3000, .flags = FAKE_F_INDIRECT };

    switch (how) {
    case CONTRACT_LOOP:
        if (packed) /* a chain has no links there; one that never ends has NEXT in every entry */
            return false;
        return fake_driver_offer(drv, bufs, 1) >= 0 &&
               !fake_driver_corrupt(drv, 0, FAKE_F_NEXT | FAKE_F_WRITE, 0);
    case CONTRACT_INDEX: return !break_index(drv, packed);
    case CONTRACT_ADDRESS:
        bufs[0] = (struct fake_buf){ CONTRACT_RAM - 8, 16, true };
        return fake_driver_offer(drv, bufs, 1) >= 0;
    case CONTRACT_DIRECTION:
        bufs[0].write = true;
        bufs[1].write = false;
        return fake_driver_offer(drv, bufs, 2) >= 0;
    case CONTRACT_EMPTY_TABLE:
        if (!(h->features & VQ_F_INDIRECT) || fake_driver_offer(drv, bufs, 1) < 0)
            return false;
        if (packed)
            return !fake_driver_corrupt_buf(drv, 0, table.addr, 0) &&
                   !fake_driver_corrupt(drv, 0, FAKE_F_INDIRECT, 0);
        return !fake_driver_desc_set(drv, 0, &table);
    default: return false;
    }
}
