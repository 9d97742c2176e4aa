/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * CPUID policy: what the host supports, made one vCPU's (Intel SDM 2A, CPUID; AMD APM 3, appendix E; Linux
 * Documentation/virt/kvm/x86/cpuid.rst).
 *
 * One package with one core per vCPU, one thread each; APIC id = vCPU number. Caches: L1 and L2 belong to a core, L3 to the
 * package.
 */
#include "x86.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#define LEAF1_ECX_HYPERVISOR (1U << 31)

enum {
    LEAF1_ECX_TSC_DEADLINE = 1 << 24,
    LEAF1_EDX_HTT = 1 << 28,
    KVM_LEAF_SIGNATURE = 0x40000000,
    KVM_LEAF_TIMING =
        0x40000010, /* EAX: TSC kHz, EBX: APIC bus kHz (VMware's leaf, which Linux guests read) */
    APIC_BUS_KHZ = 1000000, /* KVM's: 1 GHz */
    TOPOLOGY_CORE = 2 << 8,
    TOPOLOGY_THREAD = 1 << 8,
};

static unsigned bits_for(unsigned n)
{
    unsigned bits = 0;

    while ((1U << bits) < n)
        bits++;
    return bits;
}

/* Leaf 1: the numbers every old program reads. */
static void leaf1(const struct varch_x86_cpu *cpu, struct kvm_cpuid_entry2 *e)
{
    unsigned cpus = cpu->cpus;

    e->ebx = (e->ebx & 0xffff) | (cpus < 256 ? cpus : 255) << 16 | cpu->id << 24;
    e->ecx |= LEAF1_ECX_HYPERVISOR;
    e->ecx = cpu->tsc_deadline ? e->ecx | LEAF1_ECX_TSC_DEADLINE
                               : e->ecx & ~(uint32_t)LEAF1_ECX_TSC_DEADLINE;
    e->edx = cpus > 1 ? e->edx | LEAF1_EDX_HTT : e->edx & ~(uint32_t)LEAF1_EDX_HTT;
}

/* Leaf 4 (and AMD's 0x8000001d): who shares a cache, and cores per package. */
static void cache_leaf(unsigned cpus, bool amd, struct kvm_cpuid_entry2 *e)
{
    unsigned level = e->eax >> 5 & 7;
    unsigned sharers = level >= 3 ? cpus : 1;

    if (!(e->eax & 0x1f))
        return;
    e->eax &= amd ? 0xfc003fffU : 0x00003fffU;
    e->eax |= (sharers - 1 < 0xfff ? sharers - 1 : 0xfff) << 14;
    if (!amd)
        e->eax |= ((1U << bits_for(cpus < 64 ? cpus : 64)) - 1) << 26;
}

/* Leaves 0xb and 0x1f: x2APIC topology, subleaf 0 threads (one per core), subleaf 1 cores. */
static void topology_leaf(const struct varch_x86_cpu *cpu, struct kvm_cpuid_entry2 *e)
{
    e->eax = e->ebx = 0;
    e->ecx = e->index;
    e->edx = cpu->id;
    if (e->index == 0) {
        e->ebx = 1;
        e->ecx |= TOPOLOGY_THREAD;
    } else if (e->index == 1) {
        e->eax = bits_for(cpu->cpus);
        e->ebx = cpu->cpus;
        e->ecx |= TOPOLOGY_CORE;
    }
}

static void adapt(const struct varch_x86_cpu *cpu, struct kvm_cpuid_entry2 *e)
{
    switch (e->function) {
    case 0x1: leaf1(cpu, e); break;
    case 0x4: cache_leaf(cpu->cpus, false, e); break;
    case 0xb:
    case 0x1f: topology_leaf(cpu, e); break;
    case 0x80000008: /* AMD: cores per package, and bits of an APIC id that number them */
        if (e->ecx)
            e->ecx = bits_for(cpu->cpus) << 12 | (cpu->cpus - 1 > 0xff ? 0xff : cpu->cpus - 1);
        break;
    case 0x8000001d: cache_leaf(cpu->cpus, true, e); break;
    case 0x8000001e: /* AMD: APIC id, core and node of this CPU */
        e->eax = cpu->id;
        e->ebx = cpu->id & 0xff;
        e->ecx = 0;
        break;
    default: break;
    }
}

/* Kernels without a table for 0xb trust what is not there; make both subleaves exist. */
static void add_subleaf(struct kvm_cpuid2 *c, uint32_t function, uint32_t index)
{
    for (uint32_t i = 0; i < c->nent; i++)
        if (c->entries[i].function == function && c->entries[i].index == index)
            return;
    if (c->nent < VARCH_X86_CPUID_MAX)
        c->entries[c->nent++] = (struct kvm_cpuid_entry2){
            .function = function, .index = index, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX
        };
}

/* The rate of TSC and local APIC, so that the guest need not measure them. */
static void timing_leaf(uint32_t tsc_khz, struct kvm_cpuid2 *c)
{
    if (!tsc_khz || c->nent >= VARCH_X86_CPUID_MAX)
        return;
    for (uint32_t i = 0; i < c->nent; i++)
        if (c->entries[i].function == KVM_LEAF_SIGNATURE && c->entries[i].eax < KVM_LEAF_TIMING)
            c->entries[i].eax = KVM_LEAF_TIMING;
    c->entries[c->nent++] = (struct kvm_cpuid_entry2){ .function = KVM_LEAF_TIMING,
                                                       .eax = tsc_khz,
                                                       .ebx = APIC_BUS_KHZ };
}

static bool has_leaf(const struct kvm_cpuid2 *c, uint32_t function)
{
    for (uint32_t i = 0; i < c->nent; i++)
        if (c->entries[i].function == function)
            return true;
    return false;
}

void varch_x86_cpuid_make(const struct varch_x86_cpu *cpu, const struct kvm_cpuid2 *host,
                          struct kvm_cpuid2 *ret_guest)
{
    struct kvm_cpuid2 *c = ret_guest;

    memcpy(c, host, sizeof(*host) + host->nent * sizeof(host->entries[0]));
    /* KVM gives one empty subleaf of each; Linux asks 0x1f first and needs the level of cores in it. */
    if (has_leaf(c, 0xb))
        add_subleaf(c, 0xb, 1);
    if (has_leaf(c, 0x1f))
        add_subleaf(c, 0x1f, 1);
    for (uint32_t i = 0; i < c->nent; i++)
        adapt(cpu, &c->entries[i]);
    timing_leaf(cpu->tsc_khz, c);
}

/* --- between KVM and the policy --- */

int varch_x86_cpuid_load(struct varch *arch)
{
    struct kvm_cpuid2 *c = calloc(1, VARCH_X86_CPUID_BYTES);
    int rc;

    if (!c)
        return vm_fail(-ENOMEM, "CPUID: out of memory");
    c->nent = VARCH_X86_CPUID_MAX - VARCH_X86_CPUID_OWN;
    rc = hv_get(arch->vm->hv, HV_STATE_SUPPORTED_CPUID, c,
                VARCH_X86_CPUID_BYTES - VARCH_X86_CPUID_OWN * sizeof(struct kvm_cpuid_entry2));
    if (rc) {
        free(c);
        return vm_wrap(rc, "CPUID of the host");
    }
    arch->cpuid = c;
    arch->phys_bits = 36;
    for (uint32_t i = 0; i < c->nent; i++)
        if (c->entries[i].function == 0x80000008)
            arch->phys_bits = c->entries[i].eax & 0xff;
    return 0;
}

int varch_x86_cpuid_set(struct varch *arch, struct hv_vcpu *vcpu)
{
    struct varch_x86_cpu cpu = { .id = vcpu->id, .cpus = arch->config.cpus };
    struct kvm_cpuid2 *c = malloc(VARCH_X86_CPUID_BYTES);
    int rc;

    if (!c)
        return vm_fail(-ENOMEM, "CPUID: out of memory");
    cpu.tsc_deadline = hv_vm_cap(arch->vm, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    if (hv_vcpu_get(vcpu, HV_STATE_TSC_KHZ, &cpu.tsc_khz, sizeof(cpu.tsc_khz)))
        cpu.tsc_khz = 0;
    varch_x86_cpuid_make(&cpu, arch->cpuid, c);
    rc = hv_vcpu_set(vcpu, HV_STATE_CPUID2, c, sizeof(*c) + c->nent * sizeof(c->entries[0]));
    free(c);
    return rc;
}
