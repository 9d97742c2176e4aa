/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Ledgers: a file of two halves, each with a header and a section of the state codec.
 *
 *     number:u64 (0: nothing; the larger one counts)   what:u32 (1: rows of class->ledger, 2: the whole state)   bytes:u32
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
#include <vmm/devices-core/ledger.h>

#include "device_private.h"

enum { HALF = VDEV_LEDGER_BYTES / 2, HALVES = 2, TOLD = 1, WHOLE = 2 };

struct slot {
    uint64_t number;
    uint32_t what, bytes;
};
enum { ROOM = HALF - sizeof(struct slot) };

struct vdev_ledger {
    uint8_t *file; /* mapped; whoever has the fd may write there at any time */
    uint64_t number; /* of what was written last */
};

/* A copy of what counts. */
struct section {
    uint64_t number;
    uint32_t what, bytes;
    uint8_t data[ROOM];
};

int vdev_ledger_new(const char *id)
{
    int fd = memfd_create("ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return vm_fail_errno("%s: ledger: memfd_create", id);
    if (!ftruncate(fd, VDEV_LEDGER_BYTES) &&
        !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return fd;
    vm_fail_errno("%s: ledger", id);
    vm_close(&fd);
    return -ENOMEM;
}

/* ---- the file ---- */

static int map(int fd, uint8_t **ret_file)
{
    struct stat st;
    void *at;

    if (vm_fstat(fd, &st))
        return vm_fail_errno("ledger: fd %d", fd);
    if (!S_ISREG(st.st_mode) || st.st_size != VDEV_LEDGER_BYTES)
        return vm_fail(-EINVAL, "ledger: fd %d is not a file of %d bytes", fd, VDEV_LEDGER_BYTES);
    at = mmap(NULL, VDEV_LEDGER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return vm_fail_errno("ledger: mmap");
    *ret_file = at;
    return 0;
}

static struct slot *slot_at(uint8_t *file, uint64_t number)
{
    return (struct slot *)(void *)(file + HALF * (number % HALVES));
}

/* Copied once, and looked at only after. */
static void read_half(uint8_t *file, unsigned half, struct section *latest)
{
    const struct slot *s = slot_at(file, half);
    uint64_t number = __atomic_load_n(&s->number, __ATOMIC_ACQUIRE);
    uint32_t what = __atomic_load_n(&s->what, __ATOMIC_RELAXED);
    uint32_t bytes = __atomic_load_n(&s->bytes, __ATOMIC_RELAXED);

    if (number <= latest->number || number == UINT64_MAX || bytes > ROOM ||
        (what != TOLD && what != WHOLE))
        return;
    latest->number = number;
    latest->what = what;
    latest->bytes = bytes;
    memcpy(latest->data, s + 1, bytes);
}

static void read_file(uint8_t *file, struct section *ret_latest)
{
    ret_latest->number = 0;
    for (unsigned half = 0; half < HALVES; half++)
        read_half(file, half, ret_latest);
}

/* The other half than what counts now; a reader sees it once it is complete. */
static int write_file(struct vdev_ledger *l, uint32_t what, const struct vm_buffer *section)
{
    struct slot *s = slot_at(l->file, l->number + 1);

    if (section->len > ROOM)
        return vm_fail(-E2BIG, "ledger: %zu bytes of state, and there is room for %zu",
                       section->len, (size_t)ROOM);
    __atomic_store_n(&s->number, 0, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    s->what = what;
    s->bytes = (uint32_t)section->len;
    memcpy(s + 1, section->data, section->len);
    __atomic_store_n(&s->number, ++l->number, __ATOMIC_RELEASE);
    return 0;
}

/* ---- of a device ---- */

static const struct vm_state_field *fields(const struct vdev_class *cls, uint32_t what)
{
    return what == TOLD ? cls->ledger : vdev_state_fields(cls);
}

static int encode(struct vdev_ledger *l, const struct vdev_class *cls, uint32_t what,
                  const void *state)
{
    struct vm_buffer buffer = { 0 };
    int rc = vm_state_save(fields(cls, what), vdev_state_version(cls), state, &buffer);

    if (!rc)
        rc = write_file(l, what, &buffer);
    vm_buffer_free(&buffer);
    return rc;
}

/* What cannot be written down would be lost with the process; that is told, and the device works on. */
static void keep(struct vdev *dev, uint32_t what)
{
    void *state;

    if (!dev->ledger || !fields(dev->cls, what))
        return;
    state = vdev_state_now(dev);
    if (!state || encode(dev->ledger, dev->cls, what, state))
        vm_log(dev->env, VM_LOG_WARN, "%s: %s", dev->id, vm_error_text());
    free(state);
}

void vdev_ledger_changed(struct vdev *dev)
{
    keep(dev, TOLD);
}

void vdev_ledger_whole(struct vdev *dev)
{
    keep(dev, WHOLE);
}

/* What it holds stays until the device has begun to work; an empty one holds the device as it was made. */
static int take_over(struct vdev *dev, struct vdev_ledger *l)
{
    struct section *latest = malloc(sizeof(*latest));

    if (!latest)
        return vm_fail(-ENOMEM, "%s: ledger: out of memory", dev->id);
    read_file(l->file, latest);
    l->number = latest->number;
    vm_lock_acquire(&dev->lock);
    if (latest->number && fields(dev->cls, latest->what) &&
        vdev_state_load(dev, fields(dev->cls, latest->what), latest->data, latest->bytes))
        vm_log(dev->env, VM_LOG_WARN, "%s: what the guest has told it is lost: %s", dev->id,
               vm_error_text());
    dev->ledger = l;
    if (!latest->number)
        vdev_ledger_whole(dev);
    vm_lock_release(&dev->lock);
    free(latest);
    return 0;
}

int vdev_ledger_attach(struct vdev *dev, int fd)
{
    struct vdev_ledger *l = calloc(1, sizeof(*l));
    int rc = l ? map(fd, &l->file) : vm_fail(-ENOMEM, "%s: ledger: out of memory", dev->id);

    if (!rc)
        rc = take_over(dev, l);
    if (!rc)
        return 0;
    if (l && l->file)
        munmap(l->file, VDEV_LEDGER_BYTES);
    free(l);
    return rc;
}

void vdev_ledger_detach(struct vdev *dev)
{
    struct vdev_ledger *l = dev->ledger;

    dev->ledger = NULL;
    if (l)
        munmap(l->file, VDEV_LEDGER_BYTES);
    free(l);
}

/* ---- for the VMM ---- */

static int decode(const struct vdev_class *cls, const struct section *latest, void *ret_untrusted)
{
    if (!latest->number || !fields(cls, latest->what))
        return vm_fail(-ENODATA, "ledger: nothing is in it");
    return vm_state_load(fields(cls, latest->what), vdev_state_version(cls), latest->data,
                         latest->bytes, ret_untrusted, cls->state_size);
}

int vdev_ledger_get(const struct vdev_class *cls, int fd, void *ret_untrusted)
{
    struct section *latest = malloc(sizeof(*latest));
    uint8_t *file;
    int rc = latest ? map(fd, &file) : vm_fail(-ENOMEM, "ledger: out of memory");

    if (!rc) {
        read_file(file, latest);
        rc = decode(cls, latest, ret_untrusted);
        munmap(file, VDEV_LEDGER_BYTES);
    }
    free(latest);
    return rc;
}

int vdev_ledger_put(const struct vdev_class *cls, int fd, const void *state)
{
    struct section *latest = malloc(sizeof(*latest));
    struct vdev_ledger l = { 0 };
    int rc = latest ? map(fd, &l.file) : vm_fail(-ENOMEM, "ledger: out of memory");

    if (!rc) {
        read_file(l.file, latest);
        l.number = latest->number;
        rc = encode(&l, cls, WHOLE, state);
        munmap(l.file, VDEV_LEDGER_BYTES);
    }
    free(latest);
    return rc;
}
