/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of the AArch64 architecture share: a VM of the fake hypervisor, as far as a machine has made it. */
#ifndef VARCH_ARM_TEST_H
#define VARCH_ARM_TEST_H

#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/hypervisor/fake.h>

#include "arm.h"

#define WORKS(call) cr_assert_eq((call), 0, "%s", vm_error_text())

enum { KT_CPUS = 4 };

static struct {
    struct vm_env env;
    struct hv *hv;
    struct hv_vm *vm;
    struct varch_config config;
    struct varch *arch;
    struct hv_vcpu *cpu[KT_CPUS];
} k;

static inline int kt_random(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    memset(buf, 0x5a, len);
    return 0;
}

/* A VM of an ordinary host; to be changed before kt_arch(). */
static inline void kt_open(void)
{
    const struct hv_vm_config config = { 0 };

    k.env = (struct vm_env){ .random = kt_random };
    WORKS(hv_fake_new(&k.env, &k.hv));
    WORKS(hv_fake_set_cap(k.hv, KVM_CAP_VCPU_ATTRIBUTES, 1));
    WORKS(hv_vm_new(k.hv, &config, &k.vm));
    k.config = (struct varch_config){
        .cpus = 2, .ram_bytes = 64 << 20, .segments = 1, .rtc = true, .serials = 1, .mmio_slots = 2
    };
}

static inline void kt_cap(uint32_t cap)
{
    WORKS(hv_fake_set_cap(k.hv, cap, 1));
}

/* The n-th question for a kind of controller is answered by "no". */
static inline void kt_lacks(unsigned n)
{
    hv_fake_fail(k.hv, HV_FAKE_DEVICE_NEW, n, -ENODEV);
}

static inline void kt_arch(void)
{
    WORKS(varch_new(&k.env, k.vm, &k.config, &k.arch));
    WORKS(varch_vm_setup(k.arch));
}

/* As a machine does: vCPUs, then the controller. */
static inline int kt_build(void)
{
    kt_arch();
    for (unsigned i = 0; i < k.config.cpus && i < KT_CPUS; i++) {
        WORKS(hv_vcpu_new(k.vm, i, &k.cpu[i]));
        WORKS(varch_vcpu_init(k.arch, k.cpu[i]));
    }
    return varch_irqchip_new(k.arch);
}

static inline void kt_close(void)
{
    varch_free(k.arch);
    for (unsigned i = 0; i < KT_CPUS; i++)
        hv_vcpu_free(k.cpu[i]);
    hv_vm_free(k.vm);
    hv_free(k.hv);
}

/* What was set, in order: "TYPE GROUP.ATTRIBUTE VALUE" each, "cpuN" for a vCPU's. */
static inline const char *kt_attrs(void)
{
    static char text[4096];
    struct hv_fake_attr a;
    size_t at = 0;

    text[0] = 0;
    for (size_t i = 0; hv_fake_attr_at(k.vm, i, &a) && at < sizeof(text) - 80; i++)
        at += (size_t)snprintf(text + at, 80, "%s%u %u.%llu %llx\n", a.of_vcpu ? "cpu" : "", a.of,
                               a.group, (unsigned long long)a.attr, (unsigned long long)a.value);
    return text;
}

static inline uint64_t kt_reg(unsigned cpu, uint64_t id)
{
    uint64_t value = 0;

    WORKS(hv_vcpu_get_reg(k.cpu[cpu], id, &value));
    return value;
}

#endif
