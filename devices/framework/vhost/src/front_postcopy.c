/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Memory that is still on its way, from the front end's side ("Migration", postcopy): the back end's userfaultfd, and where it has each
 * region, so that a page it waits for can be found and brought. A table that is told while it listens is answered by the same table with
 * the back end's addresses, and that by an empty one.
 */
#include "front.h"

#include <errno.h>

#include <vmm/base/check.h>

static int check(const struct vhost_front *f, bool advised, const char *what)
{
    if (f->state < FRONT_IDLE || !f->channel)
        return vm_fail(-ENOTCONN, "%s: no back end is there", f->dev.dev.id);
    if (!front_has(f, VHOST_PROTOCOL(PAGEFAULT)))
        return vm_fail(-ENOTSUP, "%s: the back end cannot wait for pages", f->dev.dev.id);
    if (f->state != FRONT_IDLE || f->postcopy.wait.begun || f->postcopy.wait.ended)
        return vm_fail(-EBUSY, "%s: %s while rings are served or another such call is under way",
                       f->dev.dev.id, what);
    if (advised && !f->postcopy.advised)
        return vm_fail(-EINVAL, "%s: %s without POSTCOPY_ADVISE", f->dev.dev.id, what);
    return 0;
}

static void finish(struct vhost_front *f, int code, int fd)
{
    struct front_wait was = f->postcopy.wait;
    struct vm_error result = { 0 };

    f->postcopy.wait = (struct front_wait){ 0 };
    if (code)
        vm_error_save(code, &result);
    if (was.begun)
        was.begun(was.ctx, &result, fd);
    else if (was.ended)
        was.ended(was.ctx, &result);
}

static int await(struct vhost_front *f, int rc)
{
    if (!rc)
        return -EINPROGRESS;
    f->postcopy.wait = (struct front_wait){ 0 };
    return rc;
}

static int advised(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    int fd = vhost_message_take_fd(untrusted, 0);

    (void)queue;
    f->postcopy.advised = fd >= 0;
    finish(f, fd < 0 ? vm_fail(-EIO, "%s: the back end has no userfaultfd", f->dev.dev.id) : 0, fd);
    return 0;
}

int vhost_front_postcopy_advise(struct vhost_front *f, vhost_front_state_begun *begun, void *ctx)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_POSTCOPY_ADVISE, 0);
    int rc = check(f, false, "POSTCOPY_ADVISE");

    if (rc)
        return rc;
    f->postcopy.wait = (struct front_wait){ .begun = begun, .ctx = ctx };
    rc = vhost_front_call(f, &m, 0, advised);
    return await(f, rc);
}

int vhost_front_postcopy_listen(struct vhost_front *f)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_POSTCOPY_LISTEN, 0);
    int rc = check(f, true, "POSTCOPY_LISTEN");

    if (!rc)
        rc = vhost_front_tell(f, &m);
    f->postcopy.listening = !rc;
    f->postcopy.count = 0;
    if (!rc)
        vhost_front_memory_again(f);
    return rc;
}

static int over(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    int rc = 0;

    (void)queue;
    if (untrusted->payload.u64)
        rc = vm_fail(-EIO, "%s: the back end did not end it (%#llx)", f->dev.dev.id,
                     (unsigned long long)untrusted->payload.u64);
    finish(f, rc, -1);
    return 0;
}

/* Rings may run. */
int vhost_front_postcopy_end(struct vhost_front *f, vhost_front_ended *ended, void *ctx)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_POSTCOPY_END, 0);
    int rc;

    if (!f->postcopy.listening || !f->channel || f->postcopy.wait.ended)
        return vm_fail(-EINVAL, "%s: POSTCOPY_END: it does not listen", f->dev.dev.id);
    f->postcopy.listening = f->postcopy.advised = false;
    f->postcopy.wait = (struct front_wait){ .ended = ended, .ctx = ctx };
    rc = vhost_front_call(f, &m, 0, over);
    return await(f, rc);
}

/* ---- tables ---- */

/* As it was sent, but for the addresses, whose ranges must not overlap. */
static int check_bases(const struct vhost_front *f, const struct vhost_message *untrusted)
{
    const struct vhost_table *t = &untrusted->payload.table;

    if (t->count != f->postcopy.count || untrusted->size < 8 + t->count * sizeof(t->region[0]))
        return vm_fail(-EPROTO, "SET_MEM_TABLE: answered with %u regions in %u bytes", t->count,
                       untrusted->size);
    for (unsigned i = 0; i < t->count; i++) {
        const struct vhost_region *r = &t->region[i], *o = &f->postcopy.region[i];
        uint64_t end;

        if (r->guest_addr != o->guest_addr || r->size != o->size ||
            !vm_add(r->user_addr, r->size, &end))
            return vm_fail(-EPROTO, "SET_MEM_TABLE: answered with another table");
        for (unsigned k = 0; k < i; k++)
            if (vm_ranges_overlap(r->user_addr, r->size, t->region[k].user_addr, t->region[k].size))
                return vm_fail(-EPROTO, "SET_MEM_TABLE: answered with addresses that overlap");
    }
    return 0;
}

static int took_bases(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    struct vhost_message ack = vhost_front_number(VHOST_USER_SET_MEM_TABLE, 0);
    int rc = check_bases(f, untrusted);

    (void)queue;
    if (rc)
        return rc;
    for (unsigned i = 0; i < f->postcopy.count; i++)
        f->postcopy.region[i].user_addr = untrusted->payload.table.region[i].user_addr;
    f->postcopy.known = true;
    return vhost_front_send(f, &ack);
}

int vhost_front_postcopy_table(struct vhost_front *f, const struct vhost_message *m)
{
    f->postcopy.known = false;
    f->postcopy.count = m->payload.table.count;
    for (unsigned i = 0; i < f->postcopy.count; i++)
        f->postcopy.region[i] = m->payload.table.region[i];
    return vhost_front_call(f, m, 0, took_bases);
}

bool vhost_front_postcopy_find(const struct vhost_front *f, uint64_t address, gpa_t *ret_gpa)
{
    for (unsigned i = 0; f->postcopy.known && i < f->postcopy.count; i++) {
        const struct vhost_region *r = &f->postcopy.region[i];

        if (address >= r->user_addr && address - r->user_addr < r->size) {
            *ret_gpa = r->guest_addr + (address - r->user_addr);
            return true;
        }
    }
    return false;
}

void vhost_front_postcopy_lost(struct vhost_front *f)
{
    f->postcopy.advised = f->postcopy.listening = f->postcopy.known = false;
    f->postcopy.count = 0;
    finish(f, vm_fail(-ECONNRESET, "%s: the back end went away", f->dev.dev.id), -1);
}
