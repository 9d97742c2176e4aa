/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The system object of KVM, and the calls that system, VM, vCPU and device share. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "kvm_private.h"
#include "state_table.h"

int hv_kvm_fail(const char *format, ...)
{
    int code = errno == ENOTTY ? -ENOTSUP : -errno;
    char text[VM_ERROR_TEXT];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return vm_fail(code, "%s: %s", text, strerrordesc_np(-code));
}

int hv_kvm_ioctl(int fd, unsigned long request, uintptr_t arg)
{
    int rc;

    do
        rc = ioctl(fd, request, arg);
    while (rc < 0 && errno == EINTR);
    return rc;
}

int hv_kvm_cap(int fd, uint32_t cap)
{
    int value = hv_kvm_ioctl(fd, KVM_CHECK_EXTENSION, cap);

    return value > 0 ? value : 0;
}

int hv_kvm_enable_cap(int fd, const struct kvm_enable_cap *cap)
{
    if (hv_kvm_ioctl(fd, KVM_ENABLE_CAP, (uintptr_t)cap) < 0)
        return hv_kvm_fail("KVM_ENABLE_CAP: capability %u, argument 0x%llx", cap->cap,
                           (unsigned long long)cap->args[0]);
    return 0;
}

int hv_kvm_get(int fd, enum hv_object object, enum hv_state kind, void *buf, size_t size)
{
    const struct state_row *row = hv_state_row(kind);
    int rc = hv_state_check(kind, object, 0, buf, size);

    if (rc)
        return rc;
    rc = hv_kvm_ioctl(fd, row->get, row->flags & STATE_BY_VALUE ? 0 : (uintptr_t)buf);
    if (rc < 0)
        return hv_kvm_fail("reading %s", row->name);
    if (row->flags & STATE_BY_VALUE)
        memcpy(buf, &rc, size);
    return rc;
}

int hv_kvm_set(int fd, enum hv_object object, enum hv_state kind, const void *buf, size_t size)
{
    const struct state_row *row = hv_state_row(kind);
    uintptr_t arg = (uintptr_t)buf;
    int rc = hv_state_check(kind, object, 1, buf, size);

    if (rc)
        return rc;
    if (row->flags & STATE_BY_VALUE) {
        arg = 0;
        memcpy(&arg, buf, size);
    }
    rc = hv_kvm_ioctl(fd, row->set, arg);
    if (rc < 0)
        return hv_kvm_fail("setting %s", row->name);
    return rc;
}

int hv_kvm_attr(int fd, enum hv_attr what, struct kvm_device_attr *attr)
{
    static const unsigned long request[] = { KVM_HAS_DEVICE_ATTR, KVM_GET_DEVICE_ATTR,
                                             KVM_SET_DEVICE_ATTR };

    if (hv_kvm_ioctl(fd, request[what], (uintptr_t)attr) >= 0)
        return 0;
    if (what == HV_ATTR_HAS)
        return -ENXIO;
    return hv_kvm_fail("%s attribute %llu of group %u", what == HV_ATTR_GET ? "reading" : "setting",
                       (unsigned long long)attr->attr, attr->group);
}

int hv_kvm_stats_fd(int fd)
{
    int rc = hv_kvm_ioctl(fd, KVM_GET_STATS_FD, 0);

    return rc < 0 ? hv_kvm_fail("KVM_GET_STATS_FD") : rc;
}

static struct kvm_system *to_system(struct hv *hv)
{
    return container_of(hv, struct kvm_system, hv);
}

static void system_free(struct hv *hv)
{
    struct kvm_system *s = to_system(hv);

    vm_close(&s->fd);
    free(s);
}

static int system_cap(struct hv *hv, uint32_t cap)
{
    return hv_kvm_cap(to_system(hv)->fd, cap);
}

static int system_get(struct hv *hv, enum hv_state kind, void *buf, size_t size)
{
    return hv_kvm_get(to_system(hv)->fd, HV_OBJECT_SYSTEM, kind, buf, size);
}

static int system_attr(struct hv *hv, enum hv_attr what, struct kvm_device_attr *attr)
{
    return hv_kvm_attr(to_system(hv)->fd, what, attr);
}

static int system_vm_new(struct hv *hv, const struct hv_vm_config *config, struct hv_vm **ret_vm)
{
    return hv_kvm_vm_new(hv, to_system(hv)->fd, config, ret_vm);
}

static const struct hv_ops system_ops = {
    .name = "KVM",
    .free = system_free,
    .cap = system_cap,
    .get = system_get,
    .attr = system_attr,
    .vm_new = system_vm_new,
};

int hv_kvm_new(const struct vm_env *env, int kvm_fd, struct hv **ret_hv)
{
    int version = hv_kvm_ioctl(kvm_fd, KVM_GET_API_VERSION, 0);
    int bytes = hv_kvm_ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    struct kvm_system *s;

    if (version < 0)
        return vm_fail(-ENOTSUP, "fd %d is not a KVM device: open /dev/kvm", kvm_fd);
    if (version != KVM_API_VERSION)
        return vm_fail(-ENOTSUP,
                       "KVM's API has version %d, version %d is needed: use Linux 2.6.22 "
                       "or newer",
                       version, KVM_API_VERSION);
    if (bytes < (int)sizeof(struct kvm_run))
        return vm_fail(-ENOTSUP, "KVM's run page has %d bytes, %zu are needed", bytes,
                       sizeof(struct kvm_run));
    s = calloc(1, sizeof(*s));
    if (!s)
        return vm_fail(-ENOMEM, "no memory for the KVM object");
    s->hv = (struct hv){
        .ops = &system_ops, .env = env, .api_version = version, .run_bytes = (size_t)bytes
    };
    s->fd = kvm_fd;
    *ret_hv = &s->hv;
    return 0;
}
