/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A KVM vCPU. cpu_run() is the hottest function of a VM: the two exits that guests make all the
 * time are decoded in it, everything else in kvm_exit.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "kvm_private.h"

static struct kvm_cpu *to_cpu(struct hv_vcpu *vcpu)
{
    return container_of(vcpu, struct kvm_cpu, vcpu);
}

static size_t ring_bytes(const struct hv_vm *vm)
{
    return vm->dirty_ring_entries * sizeof(struct kvm_dirty_gfn);
}

static void cpu_free(struct hv_vcpu *vcpu)
{
    struct kvm_cpu *c = to_cpu(vcpu);

    if (vcpu->ring)
        munmap(vcpu->ring, ring_bytes(vcpu->vm));
    munmap(vcpu->run, vcpu->vm->hv->run_bytes);
    vm_close(&c->fd);
    free(c);
}

static int cpu_run(struct hv_vcpu *vcpu, struct hv_exit *ret_exit)
{
    struct kvm_run *run = vcpu->run;

    /* ioctl(3) takes its arguments from the stack, behind a guard: twice the instructions. */
    if (__builtin_expect(syscall(SYS_ioctl, to_cpu(vcpu)->fd, KVM_RUN, 0) < 0, 0))
        return hv_kvm_run_failed(run, errno, ret_exit);
    if (run->exit_reason == KVM_EXIT_IO) {
        ret_exit->reason = HV_EXIT_PIO;
        /* direction, size, port and count: eight bytes in the same places. */
        memcpy(&ret_exit->pio, &run->io, 8);
        ret_exit->pio.data = (uint8_t *)run + run->io.data_offset;
        return 0;
    }
    if (run->exit_reason == KVM_EXIT_MMIO) {
        ret_exit->reason = HV_EXIT_MMIO;
        ret_exit->mmio.addr = run->mmio.phys_addr;
        ret_exit->mmio.data = run->mmio.data;
        ret_exit->mmio.len = run->mmio.len;
        ret_exit->mmio.is_write = run->mmio.is_write;
        return 0;
    }
    hv_kvm_decode_rare(run, ret_exit);
    return 0;
}

#define SAME_PLACE(ours, theirs)                                                           \
    _Static_assert(offsetof(struct hv_exit, pio.ours) - offsetof(struct hv_exit, pio) ==   \
                       offsetof(struct kvm_run, io.theirs) - offsetof(struct kvm_run, io), \
                   "copied as one")
SAME_PLACE(is_write, direction);
SAME_PLACE(size, size);
SAME_PLACE(port, port);
SAME_PLACE(count, count);
_Static_assert(KVM_EXIT_IO_OUT == 1 && KVM_EXIT_IO_IN == 0, "direction is is_write");

static int cpu_enable_cap(struct hv_vcpu *vcpu, const struct kvm_enable_cap *cap)
{
    return hv_kvm_enable_cap(to_cpu(vcpu)->fd, cap);
}

static int cpu_get(struct hv_vcpu *vcpu, enum hv_state kind, void *buf, size_t size)
{
#if defined(__x86_64__)
    /* KVM writes as much as the guest's features need, whatever the buffer. */
    if (kind == HV_STATE_XSAVE2) {
        int need = hv_vm_cap(vcpu->vm, KVM_CAP_XSAVE2);

        if (need <= 0)
            return vm_fail(-ENOTSUP, "this KVM has no KVM_GET_XSAVE2: use the 4096 byte area");
        if (size < (size_t)need)
            return vm_fail(-EINVAL, "XSAVE area 2: %zu bytes given, it has %d", size, need);
    }
#endif
    return hv_kvm_get(to_cpu(vcpu)->fd, HV_OBJECT_VCPU, kind, buf, size);
}

static int cpu_set(struct hv_vcpu *vcpu, enum hv_state kind, const void *buf, size_t size)
{
    return hv_kvm_set(to_cpu(vcpu)->fd, HV_OBJECT_VCPU, kind, buf, size);
}

static int cpu_attr(struct hv_vcpu *vcpu, enum hv_attr what, struct kvm_device_attr *attr)
{
    return hv_kvm_attr(to_cpu(vcpu)->fd, what, attr);
}

static int cpu_stats_fd(struct hv_vcpu *vcpu)
{
    return hv_kvm_stats_fd(to_cpu(vcpu)->fd);
}

static const struct hv_vcpu_ops cpu_ops = {
    .free = cpu_free,
    .run = cpu_run,
    .enable_cap = cpu_enable_cap,
    .get = cpu_get,
    .set = cpu_set,
    .attr = cpu_attr,
    .stats_fd = cpu_stats_fd,
};

/* The pages behind struct kvm_run: the ring of coalesced writes in the same mapping, the dirty ring
 * in one of its own (api.rst, KVM_GET_VCPU_MMAP_SIZE and 8.29). */
static int map_pages(struct kvm_cpu *c)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = c->vcpu.vm->hv->run_bytes;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);

    if (p == MAP_FAILED)
        return hv_kvm_fail("vCPU %u: mapping its run page", c->vcpu.id);
    c->vcpu.run = p;
    if (bytes >= (KVM_COALESCED_MMIO_PAGE_OFFSET + 1) * page) {
        c->vcpu.coalesced = (void *)((uint8_t *)p + KVM_COALESCED_MMIO_PAGE_OFFSET * page);
        c->vcpu.coalesced_max = (uint32_t)((page - sizeof(struct kvm_coalesced_mmio_ring)) /
                                           sizeof(struct kvm_coalesced_mmio));
    }
    if (!c->vcpu.vm->dirty_ring_entries)
        return 0;
    p = mmap(NULL, ring_bytes(c->vcpu.vm), PROT_READ | PROT_WRITE, MAP_SHARED, c->fd,
             (off_t)(HV_DIRTY_RING_PAGE * page));
    if (p == MAP_FAILED) {
        int rc = hv_kvm_fail("vCPU %u: mapping its dirty ring", c->vcpu.id);

        munmap(c->vcpu.run, bytes);
        return rc;
    }
    c->vcpu.ring = p;
    return 0;
}

int hv_kvm_vcpu_new(struct hv_vm *vm, uint32_t id, struct hv_vcpu **ret_vcpu)
{
    struct kvm_cpu *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return vm_fail(-ENOMEM, "no memory for vCPU %u", id);
    c->vcpu = (struct hv_vcpu){ .ops = &cpu_ops, .vm = vm, .id = id };
    c->fd = hv_kvm_ioctl(to_machine(vm)->fd, KVM_CREATE_VCPU, id);
    if (c->fd < 0) {
        rc = hv_kvm_fail("vCPU %u", id);
        goto free_cpu;
    }
    rc = map_pages(c);
    if (rc)
        goto close_fd;
    *ret_vcpu = &c->vcpu;
    return 0;

close_fd:
    vm_close(&c->fd);
free_cpu:
    free(c);
    return rc;
}
