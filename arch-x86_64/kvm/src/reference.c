/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Hosts that are made up, for vmm abi: what KVM would support on them (KVM_GET_SUPPORTED_CPUID), as plain data.
 *
 * Two processors have the leaves that KVM lists (Linux arch/x86/kvm/cpuid.c, __do_cpuid_func()), one with Intel's forms of
 * caches and topology (Intel SDM 2A, CPUID), one with AMD's (AMD APM 3, appendix E). Numbers are plausible, nobody's. Words that
 * are sets of features (marked below) have every bit set, or, in a second host of each, none: a feature that the policy takes
 * away shows in the one, what it adds in the other, also those that no processor has yet.
 */
#include "x86.h"

#include <errno.h>
#include <stdlib.h>

#include <vmm/arch/abi.h>
#include <vmm/base/error.h>
#include <vmm/hypervisor/fake.h>

/* Words of features. */
enum { A = 1, B = 2, C = 4, D = 8 };

struct row {
    uint32_t function, index; /* index NONE: the leaf has no subleaves */
    uint32_t word[4]; /* EAX, EBX, ECX, EDX */
    unsigned features; /* which words are replaced by all ones or zeros */
};
enum { NONE = UINT32_MAX };

static const struct row intel[] = {
    { 0x0, NONE, { 0x20, 0x756e6547, 0x6c65746e, 0x49656e69 }, 0 }, /* "GenuineIntel" */
    { 0x1, NONE, { 0x000806f0, 0x07100800, 0, 0 }, C | D },
    { 0x2, NONE, { 0x00feff01, 0xf0, 0, 0 }, 0 },
    { 0x4, 0, { 0x7c004121, 0x02c0003f, 0x3f, 0 }, 0 }, /* L1 data: 48 KiB, two threads */
    { 0x4, 1, { 0x7c004122, 0x01c0003f, 0x3f, 0 }, 0 },
    { 0x4, 2, { 0x7c004143, 0x03c0003f, 0x7ff, 0 }, 0 },
    { 0x4, 3, { 0x7c0fc163, 0x0380003f, 0x1bfff, 4 }, 0 }, /* L3: 64 threads */
    { 0x4, 4, { 0, 0, 0, 0 }, 0 },
    { 0x6, NONE, { 4, 0, 0, 0 }, 0 },
    { 0x7, 0, { 2, 0, 0, 0 }, B | C | D },
    { 0x7, 1, { 0, 0, 0, 0 }, A | D },
    { 0x7, 2, { 0, 0, 0, 0 }, D },
    { 0xa, NONE, { 0x08300802, 0, 0, 0x603 }, 0 },
    { 0xb, 0, { 0, 0, 0, 7 }, 0 },
    { 0xd, 0, { 0xe7, 0xa80, 0xa80, 0 }, 0 },
    { 0xd, 1, { 0, 0xa80, 0, 0 }, A },
    { 0xd, 2, { 0x100, 0x240, 0, 0 }, 0 },
    { 0xd, 5, { 0x40, 0x440, 0, 0 }, 0 },
    { 0xd, 6, { 0x200, 0x480, 0, 0 }, 0 },
    { 0xd, 7, { 0x400, 0x680, 0, 0 }, 0 },
    { 0x14, 0, { 1, 0, 0, 0 }, B | C },
    { 0x1d, 0, { 1, 0, 0, 0 }, 0 },
    { 0x1d, 1, { 0x04002000, 0x00080040, 0x10, 0 }, 0 },
    { 0x1e, 0, { 0, 0x4010, 0, 0 }, 0 },
    { 0x1f, 0, { 0, 0, 0, 7 }, 0 },
    { 0x40000000, NONE, { 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d }, 0 }, /* "KVMKVMKVM" */
    { 0x40000001, NONE, { 0, 0, 0, 0 }, A },
    { 0x80000000, NONE, { 0x80000008, 0, 0, 0 }, 0 },
    { 0x80000001, NONE, { 0, 0, 0, 0 }, C | D },
    { 0x80000002,
      NONE,
      { 0x65666572, 0x636e6572, 0x6f682065, 0x00007473 },
      0 }, /* "reference host" */
    { 0x80000003, NONE, { 0, 0, 0, 0 }, 0 },
    { 0x80000004, NONE, { 0, 0, 0, 0 }, 0 },
    { 0x80000006, NONE, { 0, 0, 0x08007040, 0 }, 0 },
    { 0x80000007, NONE, { 0, 0, 0, 0 }, D },
    { 0x80000008, NONE, { 0x302e, 0, 0, 0 }, B }, /* 46 bits */
};

static const struct row amd[] = {
    { 0x0, NONE, { 0x10, 0x68747541, 0x444d4163, 0x69746e65 }, 0 }, /* "AuthenticAMD" */
    { 0x1, NONE, { 0x00a10f10, 0x07100800, 0, 0 }, C | D },
    { 0x6, NONE, { 4, 0, 0, 0 }, 0 },
    { 0x7, 0, { 1, 0, 0, 0 }, B | C | D },
    { 0x7, 1, { 0, 0, 0, 0 }, A | D },
    { 0xb, 0, { 0, 0, 0, 7 }, 0 },
    { 0xd, 0, { 0x7, 0x340, 0x340, 0 }, 0 },
    { 0xd, 1, { 0, 0x340, 0, 0 }, A },
    { 0xd, 2, { 0x100, 0x240, 0, 0 }, 0 },
    { 0x40000000, NONE, { 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d }, 0 },
    { 0x40000001, NONE, { 0, 0, 0, 0 }, A },
    { 0x80000000, NONE, { 0x80000022, 0x68747541, 0x444d4163, 0x69746e65 }, 0 },
    { 0x80000001, NONE, { 0x00a10f10, 0x40000000, 0, 0 }, C | D },
    { 0x80000002, NONE, { 0x65666572, 0x636e6572, 0x6f682065, 0x00007473 }, 0 },
    { 0x80000003, NONE, { 0, 0, 0, 0 }, 0 },
    { 0x80000004, NONE, { 0, 0, 0, 0 }, 0 },
    { 0x80000005, NONE, { 0xff48ff40, 0xff48ff40, 0x20080140, 0x20080140 }, 0 },
    { 0x80000006, NONE, { 0x48002200, 0x68004200, 0x02006140, 0x00808140 }, 0 },
    { 0x80000007, NONE, { 0, 0, 0, 0 }, D },
    { 0x80000008, NONE, { 0x3030, 0, 0x400f, 0x00010007 }, B }, /* 48 bits; 16 threads */
    { 0x8000000a, NONE, { 1, 8, 0, 0 }, D },
    { 0x80000019, NONE, { 0xf048f040, 0xf0400000, 0, 0 }, 0 },
    { 0x8000001a, NONE, { 6, 0, 0, 0 }, 0 },
    { 0x8000001d, 0, { 0x00004121, 0x01c0003f, 0x3f, 0 }, 0 }, /* L1 data: 32 KiB, two threads */
    { 0x8000001d, 1, { 0x00004122, 0x01c0003f, 0x3f, 0 }, 0 },
    { 0x8000001d, 2, { 0x00004143, 0x01c0003f, 0x3ff, 2 }, 0 },
    { 0x8000001d, 3, { 0x0003c163, 0x03c0003f, 0x7fff, 1 }, 0 }, /* L3: 16 threads */
    { 0x8000001d, 4, { 0, 0, 0, 0 }, 0 },
    { 0x8000001e, NONE, { 7, 0x103, 1, 0 }, 0 },
    { 0x80000021, NONE, { 0, 0, 0, 0 }, A },
    { 0x80000022, NONE, { 0, 6, 0, 0 }, A },
};

static const struct host {
    struct varch_reference what;
    const struct row *rows;
    uint32_t count;
    bool features;
} hosts[] = {
    { { "Intel, every feature", 0 }, intel, VM_ARRAY_SIZE(intel), true },
    { { "Intel, no feature", 0 }, intel, VM_ARRAY_SIZE(intel), false },
    { { "AMD, every feature", 2 }, amd, VM_ARRAY_SIZE(amd), true },
    { { "AMD, no feature", 2 }, amd, VM_ARRAY_SIZE(amd), false },
};

static uint32_t word(const struct host *host, const struct row *row, unsigned n)
{
    if (row->features & 1U << n)
        return host->features ? UINT32_MAX : 0;
    return row->word[n];
}

static int set_cpuid(struct hv *hv, const struct host *host)
{
    size_t size = sizeof(struct kvm_cpuid2) + host->count * sizeof(struct kvm_cpuid_entry2);
    struct kvm_cpuid2 *c = calloc(1, size);
    int rc;

    if (!c)
        return vm_fail(-ENOMEM, "reference host: out of memory");
    c->nent = host->count;
    for (uint32_t i = 0; i < host->count; i++) {
        const struct row *row = &host->rows[i];

        c->entries[i] = (struct kvm_cpuid_entry2){
            .function = row->function,
            .index = row->index == NONE ? 0 : row->index,
            .flags = row->index == NONE ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            .eax = word(host, row, 0),
            .ebx = word(host, row, 1),
            .ecx = word(host, row, 2),
            .edx = word(host, row, 3),
        };
    }
    rc = hv_fake_set_system(hv, HV_STATE_SUPPORTED_CPUID, c, size);
    free(c);
    return rc;
}

int varch_reference_new(const struct vm_env *env, unsigned n, struct hv **ret_hv,
                        struct varch_reference *ret_reference)
{
    struct hv *hv;
    int rc;

    if (n >= VM_ARRAY_SIZE(hosts))
        return -ENOENT;
    rc = hv_fake_new(env, &hv);
    if (rc)
        return rc;
    rc = set_cpuid(hv, &hosts[n]);
    if (!rc)
        rc = hv_fake_set_cap(hv, KVM_CAP_TSC_DEADLINE_TIMER, hosts[n].features);
    if (rc) {
        hv_free(hv);
        return rc;
    }
    *ret_reference = hosts[n].what;
    *ret_hv = hv;
    return 0;
}
