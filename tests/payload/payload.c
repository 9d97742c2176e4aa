/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/hypervisor/kvm.h>

#include "payload.h"

void payload_must(int rc, const char *what)
{
    cr_assert_eq(rc, 0, "%s: %d: %s", what, rc, vm_error_text());
}

static uint8_t *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert_neq(p, MAP_FAILED);
    return p;
}

/* For HIGH_AT, and placed so that a huge page of the host's is one of the guest's, where there are any: nothing may depend on small ones. */
static uint8_t *map_high(size_t bytes)
{
    enum { HUGE_BYTES = 0x200000 };
    uint8_t *p = map(bytes + HUGE_BYTES);
    size_t past = ((uintptr_t)p - HIGH_AT) % HUGE_BYTES;
    uint8_t *start = past ? p + (HUGE_BYTES - past) : p;

    if (start > p)
        munmap(p, (size_t)(start - p));
    munmap(start + bytes, (size_t)(p + HUGE_BYTES - start));
    madvise(start, bytes, MADV_HUGEPAGE);
    return start;
}

static void open_kvm(struct payload *p, const struct payload_config *config)
{
    struct hv_vm_config vm = { 0 };
    int rc, fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        cr_skip_test("/dev/kvm cannot be opened: %s", strerror(errno));
    payload_must(hv_kvm_new(&p->env, fd, &p->hv), "KVM");
    payload_arch_vm(p, config, &vm);
    rc = hv_vm_new(p->hv, &vm, &p->vm);
    if (rc)
        cr_skip_test("/dev/kvm makes no VM: %s", vm_error_text());
}

static void set_memory(struct payload *p, const struct payload_config *config)
{
    struct hv_slot slot = { .size = LOW_BYTES, .host = p->low = map(LOW_BYTES) };

    slot.flags = config->log_dirty ? HV_SLOT_LOG_DIRTY : 0;
    payload_must(hv_vm_set_slot(p->vm, &slot), "slot 0");
    if (!config->high_pages)
        return;
    p->high_bytes = config->high_pages * 0x1000ul;
    p->high = map_high(p->high_bytes);
    slot.id = 1;
    slot.gpa = HIGH_AT;
    slot.size = p->high_bytes;
    slot.host = p->high;
    payload_must(hv_vm_set_slot(p->vm, &slot), "slot 1");
}

void payload_enable(struct payload *p, uint32_t cap, uint64_t value)
{
    const uint64_t args[4] = { value };

    payload_must(hv_vm_enable_cap(p->vm, cap, args), "capability");
}

void payload_cpu_new(struct payload *p, unsigned n)
{
    payload_must(hv_vcpu_new(p->vm, n, &p->cpu[n]), "vCPU");
    p->vcpu = p->cpu[0];
}

void payload_new(struct payload *p, const struct payload_config *config)
{
    memset(p, 0, sizeof(*p));
    open_kvm(p, config);
    if (config->manual_protect)
        payload_enable(p, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, config->manual_protect);
    payload_arch_enable(p, config);
    if (config->dirty_ring)
        payload_must(hv_vm_dirty_ring_enable(p->vm, config->dirty_ring), "dirty ring");
    set_memory(p, config);
    payload_arch_cpus(p, config);
}

void payload_free(struct payload *p)
{
    for (unsigned n = 0; n < PAYLOAD_CPUS; n++)
        hv_vcpu_free(p->cpu[n]);
    for (unsigned n = 0; n < PAYLOAD_DEVICES; n++)
        hv_device_free(p->device[n]);
    hv_vm_free(p->vm);
    hv_free(p->hv);
    munmap(p->low, LOW_BYTES);
    if (p->high)
        munmap(p->high, p->high_bytes);
}

void payload_copy(struct payload *p, uint32_t gpa, const uint8_t *from, const uint8_t *end)
{
    memcpy(p->low + gpa, from, (size_t)(end - from));
}

enum hv_exit_reason payload_run_cpu(struct hv_vcpu *vcpu, struct hv_exit *ret_exit)
{
    int rc = hv_vcpu_run(vcpu, ret_exit);

    cr_assert_eq(rc, 0, "running the guest: %s", strerror(-rc));
    return ret_exit->reason;
}

enum hv_exit_reason payload_run(struct payload *p)
{
    return payload_run_cpu(p->vcpu, &p->exit);
}

static uint32_t run_to(struct hv_vcpu *vcpu, uint32_t where, struct hv_exit *exit)
{
    uint32_t value = 0;

    while (payload_run_cpu(vcpu, exit) == HV_EXIT_INTR)
        ;
    if (!payload_told(exit, where, &value)) {
        uint64_t other = exit->reason == HV_EXIT_MMIO  ? exit->mmio.addr
                         : exit->reason == HV_EXIT_PIO ? exit->pio.port
                                                       : 0;

        cr_assert_fail("exit '%s' (0x%llx) instead of 0x%x", hv_exit_name(exit->reason),
                       (unsigned long long)other, where);
    }
    return value;
}

uint32_t payload_run_to(struct payload *p, uint32_t where)
{
    return run_to(p->vcpu, where, &p->exit);
}

uint32_t payload_run_cpu_to(struct hv_vcpu *vcpu, uint32_t where)
{
    struct hv_exit exit = { 0 };

    return run_to(vcpu, where, &exit);
}

void payload_settle(struct hv_vcpu *vcpu)
{
    struct hv_exit exit = { 0 };

    hv_vcpu_set_immediate_exit(vcpu, true);
    cr_assert_eq(payload_run_cpu(vcpu, &exit), HV_EXIT_INTR);
    hv_vcpu_set_immediate_exit(vcpu, false);
}

bool payload_is_told(const struct payload *p, uint32_t where, uint32_t value)
{
    uint32_t told;

    return payload_told(&p->exit, where, &told) && told == value;
}

bool payload_is_mmio_write(const struct payload *p, uint64_t addr, unsigned len, uint64_t value)
{
    const struct hv_exit *e = &p->exit;

    return e->reason == HV_EXIT_MMIO && e->mmio.is_write && e->mmio.addr == addr &&
           e->mmio.len == len && vm_load_le(e->mmio.data, len) == value;
}

bool payload_is_mmio_read(const struct payload *p, uint64_t addr, unsigned len)
{
    const struct hv_exit *e = &p->exit;

    return e->reason == HV_EXIT_MMIO && !e->mmio.is_write && e->mmio.addr == addr &&
           e->mmio.len == len;
}

static void nothing(int number)
{
    (void)number;
}

void payload_kick(pthread_t thread, struct hv_vcpu *vcpu)
{
    struct sigaction action = { .sa_handler = nothing };

    sigaction(SIGUSR1, &action, NULL);
    hv_vcpu_set_immediate_exit(vcpu, true);
    pthread_kill(thread, SIGUSR1);
}

static void *kick(void *arg)
{
    struct payload_kick *k = arg;

    payload_kick(k->target, k->vcpu);
    return NULL;
}

void payload_kick_start(struct payload_kick *k, struct hv_vcpu *vcpu)
{
    *k = (struct payload_kick){ .target = pthread_self(), .vcpu = vcpu };
    cr_assert_eq(pthread_create(&k->thread, NULL, kick, k), 0);
}

void payload_kick_end(struct payload_kick *k)
{
    pthread_join(k->thread, NULL);
    hv_vcpu_set_immediate_exit(k->vcpu, false);
}
