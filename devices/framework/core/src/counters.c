/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Counters of devices in processes: a file of a table and of the memory of one device.
 *
 *     0       rows: name, at:u64 (in the file; 0: value is all there is), value:u64
 *     16 KiB  what vdev_alloc() gives
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/util.h>
#include <vmm/devices-core/counters.h>

struct row {
    char name[VDEV_COUNTERS_NAME];
    uint64_t at, value;
};
_Static_assert(sizeof(struct row) * VDEV_COUNTERS_ROWS <= VDEV_COUNTERS_TABLE, "a table");

struct vdev_counters {
    uint8_t *file; /* mapped; whoever has the fd may write there at any time */
    int fd; /* -1: somebody else's */
    bool taken; /* a device lies there */
};

/* In front of each device's memory. */
union block {
    struct vdev_counters *counters; /* NULL: it is the heap's */
    max_align_t align;
};

/* ---- the file ---- */

static int map(int fd, struct vdev_counters *c)
{
    struct stat st;
    void *at;

    if (vm_fstat(fd, &st))
        return vm_fail_errno("counters: fd %d", fd);
    if (!S_ISREG(st.st_mode) || st.st_size != VDEV_COUNTERS_BYTES)
        return vm_fail(-EINVAL, "counters: fd %d is not a file of %d bytes", fd,
                       VDEV_COUNTERS_BYTES);
    at = mmap(NULL, VDEV_COUNTERS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return vm_fail_errno("counters: mmap");
    c->file = at;
    return 0;
}

int vdev_counters_attach(int fd, struct vdev_counters **ret_counters)
{
    struct vdev_counters *c = calloc(1, sizeof(*c));
    int rc = c ? map(fd, c) : vm_fail(-ENOMEM, "counters: out of memory");

    if (rc) {
        free(c);
        return rc;
    }
    c->fd = -1;
    *ret_counters = c;
    return 0;
}

int vdev_counters_new(const char *id, struct vdev_counters **ret_counters)
{
    int rc, fd = memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return vm_fail_errno("%s: counters: memfd_create", id);
    if (ftruncate(fd, VDEV_COUNTERS_BYTES) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        rc = vm_fail_errno("%s: counters", id);
    else
        rc = vdev_counters_attach(fd, ret_counters);
    if (rc)
        vm_close(&fd);
    else
        (*ret_counters)->fd = fd;
    return rc;
}

int vdev_counters_fd(const struct vdev_counters *c)
{
    return c->fd;
}

void vdev_counters_free(struct vdev_counters *c)
{
    if (!c)
        return;
    munmap(c->file, VDEV_COUNTERS_BYTES);
    vm_close(&c->fd);
    free(c);
}

/* ---- the table ---- */

static struct row *row_at(const struct vdev_counters *c, size_t n)
{
    return (struct row *)(void *)c->file + n;
}

size_t vdev_metrics_count(const struct vdev_class *cls)
{
    size_t n = 0;

    while (cls->metrics && cls->metrics[n].name)
        n++;
    return n;
}

static uint64_t row_value(const struct vdev_counters *c, const struct row *r)
{
    uint64_t at = __atomic_load_n(&r->at, __ATOMIC_ACQUIRE);

    if (at < VDEV_COUNTERS_TABLE || at > VDEV_COUNTERS_BYTES - sizeof(uint64_t) ||
        at % sizeof(uint64_t))
        return vm_count_get(&r->value);
    return vm_count_get((const uint64_t *)(const void *)(c->file + at));
}

void vdev_counters_get(const struct vdev_counters *c, const struct vdev_class *cls,
                       uint64_t *ret_untrusted)
{
    for (size_t n = 0, rows = vdev_metrics_count(cls); n < rows; n++)
        ret_untrusted[n] = n < VDEV_COUNTERS_ROWS ? row_value(c, row_at(c, n)) : 0;
}

void vdev_counters_put(struct vdev_counters *c, const struct vdev_class *cls, const uint64_t *value)
{
    memset(c->file, 0, VDEV_COUNTERS_TABLE);
    for (size_t n = 0, rows = vdev_metrics_count(cls); n < rows && n < VDEV_COUNTERS_ROWS; n++) {
        strncpy(row_at(c, n)->name, cls->metrics[n].name, VDEV_COUNTERS_NAME - 1);
        row_at(c, n)->value = value[n];
    }
}

/* ---- a device ---- */

void *vdev_alloc(const struct vdev_context *context, size_t size)
{
    struct vdev_counters *c = context->counters;
    union block *b;

    if (c && !c->taken && size <= VDEV_COUNTERS_BYTES - VDEV_COUNTERS_TABLE - sizeof(*b)) {
        b = (union block *)(void *)(c->file + VDEV_COUNTERS_TABLE);
        memset(b, 0, sizeof(*b) + size);
        b->counters = c;
        c->taken = true;
    } else {
        b = calloc(1, sizeof(*b) + size);
    }
    return b ? b + 1 : NULL;
}

void vdev_free(void *device)
{
    union block *b = device;

    if (!b)
        return;
    b--;
    if (b->counters)
        b->counters->taken = false;
    else
        free(b);
}

static uint64_t *counter(const struct vdev *dev, const struct vdev_metric *m)
{
    return (uint64_t *)(void *)((char *)(uintptr_t)dev + m->offset);
}

static void begin_row(struct vdev_counters *c, struct vdev *dev, const struct vdev_metric *m)
{
    uint64_t *place = counter(dev, m), more;

    for (size_t n = 0; n < VDEV_COUNTERS_ROWS; n++) {
        struct row *r = row_at(c, n);

        if (strncmp(r->name, m->name, VDEV_COUNTERS_NAME))
            continue;
        /* It may have counted while it was made; the last process may have lied. */
        if (!__builtin_add_overflow(vm_count_get(place), r->value, &more))
            vm_count_set(place, more);
        __atomic_store_n(&r->at, (uint64_t)((uint8_t *)place - c->file), __ATOMIC_RELEASE);
        return;
    }
}

void vdev_counters_begin(struct vdev_counters *c, struct vdev *dev)
{
    uintptr_t from = (uintptr_t)c->file, at = (uintptr_t)dev;

    if (at < from || at >= from + VDEV_COUNTERS_BYTES)
        return;
    vm_lock_acquire(&dev->lock);
    for (const struct vdev_metric *m = dev->cls->metrics; m && m->name; m++)
        begin_row(c, dev, m);
    vm_lock_release(&dev->lock);
}

void vdev_metrics_read(const struct vdev *dev, uint64_t *ret_value)
{
    for (const struct vdev_metric *m = dev->cls->metrics; m && m->name; m++)
        *ret_value++ = vm_count_get(counter(dev, m));
}

void vdev_metrics_write(struct vdev *dev, const uint64_t *value)
{
    for (const struct vdev_metric *m = dev->cls->metrics; m && m->name; m++)
        vm_count_set(counter(dev, m), *value++);
}
