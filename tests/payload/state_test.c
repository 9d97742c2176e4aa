/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What there is of a VM and its vCPUs beside their state: numbers, statistics, devices; and what is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/hypervisor/kvm.h>

#include "payload.h"

static struct payload p;

TestSuite(state, .timeout = TEST_TIMEOUT);

Test(state, a_vcpu_id_is_used_once)
{
    struct hv_vcpu *again;

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vcpu_new(p.vm, 0, &again), -EEXIST);
    cr_assert_eq(hv_vcpu_new(p.vm, UINT32_MAX, &again), -EINVAL);

    payload_free(&p);
}

Test(state, binary_statistics_have_a_file)
{
    int fd;
    struct kvm_stats_header header;

    payload_new(&p, &(struct payload_config){ 0 });
    if (!hv_vm_cap(p.vm, KVM_CAP_BINARY_STATS_FD))
        cr_skip_test("this KVM has no binary statistics (capability %d is 0)",
                     KVM_CAP_BINARY_STATS_FD);

    fd = hv_vcpu_stats_fd(p.vcpu);
    cr_assert_geq(fd, 0, "%s", vm_error_text());
    cr_assert_eq(read(fd, &header, sizeof(header)), sizeof(header));
    close(fd);
    fd = hv_vm_stats_fd(p.vm);
    cr_assert_geq(fd, 0, "%s", vm_error_text());

    close(fd);
    payload_free(&p);
}

Test(state, what_is_not_kvm_is_refused)
{
    const struct vm_env env = { 0 };
    struct hv *hv;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    cr_assert_eq(hv_kvm_new(&env, fd, &hv), -ENOTSUP);
    cr_assert(strstr(vm_error_text(), "/dev/kvm"));
    cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);

    close(fd);
}

Test(state, unknown_devices_and_attributes_are_refused)
{
    struct kvm_device_attr attr = { .group = 77, .attr = 77 };
    struct hv_device *device;

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vm_device_new(p.vm, 999, &device), -ENODEV);
    cr_assert_eq(hv_vm_device_new(p.vm, 999, NULL), -ENODEV);
    cr_assert_eq(hv_vcpu_attr(p.vcpu, HV_ATTR_HAS, &attr), -ENXIO);
    cr_assert_lt(hv_attr(p.hv, HV_ATTR_GET, &attr), 0);
    payload_free(&p);
}
