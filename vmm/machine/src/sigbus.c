/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Guest memory whose file the host cannot back any more: it was cut short (mmap(2), SIGBUS), or there is no page left. A thread that
 * touches such a page gets SIGBUS, a vCPU's KVM_RUN ends with EFAULT (Linux Documentation/virt/kvm/api.rst, 4.10 and
 * KVM_EXIT_MEMORY_FAULT). A page of zeros is put in its place, this process's own, and the region counts as broken; the guest's data there
 * is lost, and the machine runs on.
 *
 * A signal handler belongs to the process, so the table it looks into does, too: it is never freed, entries are published by their start
 * and taken back by it. In the handler: atomics, mmap(2) and write(2), which the filters of all threads have.
 */
#include "machine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

enum {
    ENTRIES = 512,
    SINGLE_MAX = 4096, /* pages by themselves: a process has some 65,000 mappings */
};

struct entry {
    uintptr_t start; /* 0: free */
    uint64_t bytes, fd_offset, tail; /* tail: zeros from here on in the region, for vCPUs */
    gpa_t base;
    int fd, event;
    bool read_only;
    uint32_t mended, told; /* pages or more; what the control loop has told of */
    const struct vmm_machine *owner;
};

static struct entry table[ENTRIES];
static pthread_mutex_t table_lock =
    PTHREAD_MUTEX_INITIALIZER; /* of who changes it, never the handler's */
static struct sigaction before;

static bool put_zeros(uintptr_t at, uint64_t bytes)
{
    return mmap((void *)at, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

/* Marked, and the control loop is woken. */
static void note(struct entry *e)
{
    const uint64_t one = 1;

    __atomic_fetch_add(&e->mended, 1, __ATOMIC_RELEASE); /* with the acquire of its readers */
    if (e->event >= 0 && write(e->event, &one, sizeof(one)) < 0) {
        /* it is full: the loop is awake */
    }
}

/* The page of the mapping that holds at: which size it has shows when the kernel takes it. When there were many the rest of the region goes
 * at once: whoever takes page after page away shall not use up this process's mappings. */
static bool mend_page(struct entry *e, uintptr_t start, uintptr_t at)
{
    bool many = __atomic_load_n(&e->mended, __ATOMIC_RELAXED) >= SINGLE_MAX;

    for (uint64_t size = GM_PAGE_BYTES; size <= e->bytes; size *= 2) {
        uintptr_t from = at & ~(uintptr_t)(size - 1);

        if (from < start || from + size > start + e->bytes)
            return false;
        if (put_zeros(from, many ? start + e->bytes - from : size)) {
            note(e);
            return true;
        }
        if (errno != EINVAL) /* EINVAL: a part of a larger page */
            return false;
    }
    return false;
}

static bool mend_at(uintptr_t at)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        /* acquire: with the release of vmm_sigbus_add() */
        uintptr_t start = __atomic_load_n(&table[i].start, __ATOMIC_ACQUIRE);

        if (start && at >= start && at - start < table[i].bytes)
            return mend_page(&table[i], start, at);
    }
    return false;
}

/* Anything else ends the process as if there were no handler: what was there before is called, and the fault comes again while the signal is
 * blocked, which is death (signal(7)). One that was sent is sent again. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    ucontext_t *frame = context;
    int saved = errno;

    if (info->si_code == BUS_ADRERR && mend_at((uintptr_t)info->si_addr)) {
        errno = saved;
        return;
    }
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(number, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(number);
    if (info->si_code <= 0) {
        signal(SIGBUS, SIG_DFL);
        raise(SIGBUS);
    } else {
        sigaddset(&frame->uc_sigmask, SIGBUS);
    }
    errno = saved;
}

static int install(void)
{
    struct sigaction act = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO }, old;

    sigemptyset(&act.sa_mask);
    if (sigaction(SIGBUS, NULL, &old))
        return vm_fail_errno("sigaction(SIGBUS)");
    if (old.sa_flags & SA_SIGINFO && old.sa_sigaction == on_sigbus)
        return 0; /* another machine was here */
    before = old;
    return sigaction(SIGBUS, &act, NULL) ? vm_fail_errno("sigaction(SIGBUS)") : 0;
}

void vmm_sigbus_add(struct vmm_machine *m, const struct gm_region *region)
{
    uint64_t offset = 0;
    int fd = gm_region_fd(region, &offset);
    unsigned i = 0;

    if (fd < 0 || !gm_region_host(region)) /* private memory has no file that could go */
        return;
    pthread_mutex_lock(&table_lock);
    while (i < ENTRIES && table[i].start)
        i++;
    if (i < ENTRIES) {
        table[i] = (struct entry){ .bytes = gm_region_size(region),
                                   .fd_offset = offset,
                                   .tail = gm_region_size(region),
                                   .base = gm_region_base(region),
                                   .fd = fd,
                                   .event = m->sigbus_event,
                                   .read_only = gm_region_read_only(region),
                                   .owner = m };
        /* release: the handler sees the rest */
        __atomic_store_n(&table[i].start, (uintptr_t)gm_region_host(region), __ATOMIC_RELEASE);
        m->sigbus_regions++;
    }
    pthread_mutex_unlock(&table_lock);
}

void vmm_sigbus_remove(struct vmm_machine *m, const struct gm_region *region)
{
    pthread_mutex_lock(&table_lock);
    for (unsigned i = 0; i < ENTRIES; i++)
        if (table[i].start && table[i].owner == m &&
            table[i].start == (uintptr_t)gm_region_host(region)) {
            __atomic_store_n(&table[i].start, 0, __ATOMIC_RELEASE);
            m->sigbus_regions--;
        }
    pthread_mutex_unlock(&table_lock);
}

/* ---- what is told ---- */

static void tell(struct vm_watch *watch, uint32_t events)
{
    struct vmm_machine *m = container_of(watch, struct vmm_machine, sigbus_watch);

    (void)events;
    vm_eventfd_take(m->sigbus_event);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct entry *e = &table[i];
        char text[VM_ERROR_TEXT];
        bool first = false;

        pthread_mutex_lock(&table_lock);
        if (e->start && e->owner == m && !e->told) {
            e->told = __atomic_load_n(&e->mended, __ATOMIC_ACQUIRE);
            first = e->told;
        }
        snprintf(text, sizeof(text),
                 "guest memory at 0x%" PRIx64 ", %" PRIu64
                 " MiB, is broken: its file was cut short, or the host has no page left; zeros "
                 "stand where pages are gone",
                 e->base, e->bytes >> 20);
        pthread_mutex_unlock(&table_lock);
        if (!first)
            continue;
        vm_log(m->config.env, VM_LOG_ERROR, "%s", text);
        vmm_machine_tell(m, VMM_EVENT_TROUBLE, NULL, text);
    }
}

int vmm_sigbus_start(struct vmm_machine *m)
{
    int rc = 0;

    if (!m->sigbus_regions || m->sigbus_event >= 0)
        return 0;
    m->sigbus_event = vm_eventfd();
    if (m->sigbus_event < 0)
        return m->sigbus_event;
    if (m->config.env->loop)
        rc = vm_watch_add(m->config.env->loop, &m->sigbus_watch, m->sigbus_event, EPOLLIN, tell);
    pthread_mutex_lock(&table_lock);
    for (unsigned i = 0; i < ENTRIES; i++)
        if (table[i].start && table[i].owner == m)
            table[i].event = m->sigbus_event;
    if (!rc)
        rc = install();
    pthread_mutex_unlock(&table_lock);
    return rc;
}

/* A listener that goes hears of no region that does. */
static void forget_regions(const struct vmm_machine *m)
{
    pthread_mutex_lock(&table_lock);
    for (unsigned i = 0; i < ENTRIES; i++)
        if (table[i].start && table[i].owner == m)
            __atomic_store_n(&table[i].start, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&table_lock);
}

void vmm_sigbus_end(struct vmm_machine *m)
{
    forget_regions(m);
    m->sigbus_regions = 0;
    vm_watch_del(&m->sigbus_watch);
    vm_close(&m->sigbus_event);
}

unsigned vmm_sigbus_broken(const struct vmm_machine *m, struct vmm_machine_broken_memory *ret,
                           unsigned max)
{
    unsigned n = 0;

    pthread_mutex_lock(&table_lock);
    for (unsigned i = 0; m->sigbus_regions && i < ENTRIES && n < max; i++) {
        uint32_t mended = __atomic_load_n(&table[i].mended, __ATOMIC_ACQUIRE);

        if (table[i].start && table[i].owner == m && mended)
            ret[n++] = (struct vmm_machine_broken_memory){ table[i].base, table[i].bytes, mended };
    }
    pthread_mutex_unlock(&table_lock);
    return n;
}

/* ---- vCPUs ---- */

static bool has_byte(const struct entry *e, uint64_t at)
{
    char byte;

    return pread(e->fd, &byte, 1, (off_t)(e->fd_offset + at)) != 0; /* an error says nothing */
}

/* From there to the tail, or from the next page that the kernel takes: what is left out is of a page that the file still has a part of. */
static void mend_behind(struct entry *e, uint64_t offset)
{
    uintptr_t end = e->start + e->tail;

    for (uint64_t size = GM_PAGE_BYTES; size <= e->bytes; size *= 2) {
        uintptr_t from = (e->start + offset + size - 1) & ~(uintptr_t)(size - 1);

        if (from >= end)
            return;
        if (put_zeros(from, end - from)) {
            e->tail = from - e->start;
            note(e);
            return;
        }
        if (errno != EINVAL) /* as in mend_page() */
            return;
    }
}

/* The pages behind the end of the file, found by reading: a vCPU's filter has no call that tells the size. */
static void mend_tail(struct entry *e)
{
    uint64_t low = 0, high = e->tail / GM_PAGE_BYTES; /* pages: below low there are bytes */

    if (!high || has_byte(e, e->tail - GM_PAGE_BYTES))
        return;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (has_byte(e, middle * GM_PAGE_BYTES))
            low = middle + 1;
        else
            high = middle;
    }
    mend_behind(e, low * GM_PAGE_BYTES);
}

bool vmm_sigbus_mend(struct vmm_vcpu *v, gpa_t gpa)
{
    const struct vmm_machine *m = v->machine;
    uint64_t all = 0;

    pthread_mutex_lock(&table_lock);
    for (unsigned i = 0; m->sigbus_regions && i < ENTRIES; i++) {
        struct entry *e = &table[i];

        if (!e->start || e->owner != m)
            continue;
        mend_tail(e);
        if (gpa != VMM_NO_GPA && gpa >= e->base && gpa - e->base < e->tail && gpa != v->mended_gpa)
            (void)mend_page(e, e->start, e->start + (gpa - e->base));
        all += __atomic_load_n(&e->mended, __ATOMIC_ACQUIRE);
    }
    pthread_mutex_unlock(&table_lock);
    if (all == v->mended) /* nothing has changed since this vCPU was here: it would be again */
        return false;
    v->mended = all;
    v->mended_gpa = gpa;
    return true;
}

bool vmm_sigbus_access(const struct vmm_machine *m, const struct hv_exit *exit, uint8_t *data)
{
    volatile uint8_t *host = NULL;
    unsigned len = exit->mmio.len;

    pthread_mutex_lock(&table_lock);
    for (unsigned i = 0; m->sigbus_regions && i < ENTRIES && !host; i++) {
        const struct entry *e = &table[i];

        if (e->start && e->owner == m && !e->read_only && exit->mmio.addr >= e->base &&
            exit->mmio.addr - e->base < e->bytes && e->bytes - (exit->mmio.addr - e->base) >= len)
            host = (volatile uint8_t *)(e->start + (exit->mmio.addr - e->base));
    }
    pthread_mutex_unlock(&table_lock);
    for (unsigned i = 0; host && i < len; i++) {
        if (exit->mmio.is_write)
            host[i] = data[i];
        else
            data[i] = host[i];
    }
    return host;
}
