/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * KVM, tried for real: a VM is made and two small guests run in it.
 *
 * The second one tells hardware virtualisation from a software KVM, which runs ordinary 64-bit kernels by emulating them: it executes an instruction
 * that processors have and KVM's emulator has not (x86: CMPXCHG16B; the emulator's list is arch/x86/kvm/emulate.c).
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/arch/probe.h>
#include <vmm/base/env.h>
#include <vmm/base/error.h>
#include <vmm/hypervisor/kvm.h>

enum { GUEST_BYTES = 64 << 10 };

static void say(struct finding *row, enum finding_state state, const char *text, const char *cure)
{
    row->state = state;
    snprintf(row->text, sizeof(row->text), "%s", text);
    row->cure = cure;
}

static int open_kvm(struct findings *f)
{
    struct finding *row = vmm_findings_add(f, "/dev/kvm");
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        say(row, FINDING_OK, "can be opened", NULL);
    else if (errno == ENOENT)
        say(row, FINDING_BAD, "does not exist",
            "modprobe kvm_intel or kvm_amd; if that fails, switch virtualisation (VT-x, SVM) on in "
            "the firmware, or nested "
            "virtualisation in the hypervisor below");
    else if (errno == EACCES || errno == EPERM)
        say(row, FINDING_BAD, "no permission to open it",
            "usermod -aG kvm USER, then log in again");
    else
        say(row, FINDING_BAD, strerror(errno), "look at dmesg for what KVM says");
    return fd;
}

static void check_caps(struct findings *f, struct hv *hv)
{
    struct finding *row = vmm_findings_add(f, "KVM capabilities");
    const char *missing = varch_probe_missing(hv);

    if (missing)
        say(row, FINDING_BAD, missing, "run a newer kernel: 5.15 is the oldest that is tested");
    else
        say(row, FINDING_OK, "all that machines need are there", NULL);
    row = vmm_findings_add(f, "vCPUs");
    say(row, FINDING_OK, "", NULL);
    snprintf(row->text, sizeof(row->text), "at most %u in a machine, %u recommended",
             hv_vcpus_max(hv), hv_vcpus_recommended(hv));
}

/* 0: the guest ran to its end; else what happened instead, in words. */
static int run_guest(struct hv *hv, enum varch_probe which, char *why, size_t room)
{
    static const struct hv_vm_config plain = { 0 };
    void *ram = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct hv_vcpu *vcpu = NULL;
    struct hv_vm *vm = NULL;
    int rc;

    if (ram == MAP_FAILED) {
        snprintf(why, room, "no memory for a guest: %s", strerror(errno));
        return -errno;
    }
    rc = hv_vm_new(hv, &plain, &vm);
    if (!rc)
        rc = hv_vm_set_slot(vm, &(struct hv_slot){ .size = GUEST_BYTES, .host = ram });
    if (!rc)
        rc = hv_vcpu_new(vm, 0, &vcpu);
    if (!rc)
        rc = varch_probe_run(vcpu, which, ram, GUEST_BYTES);
    if (rc)
        snprintf(why, room, "%s", vm_error_text());
    hv_vcpu_free(vcpu);
    hv_vm_free(vm);
    munmap(ram, GUEST_BYTES);
    return rc;
}

static void check_run(struct findings *f, struct hv *hv)
{
    struct finding *row = vmm_findings_add(f, "a vCPU runs");
    char why[200];

    if (run_guest(hv, VARCH_PROBE_RUNS, why, sizeof(why))) {
        say(row, FINDING_BAD, why,
            "look at dmesg for what KVM says; another hypervisor may hold the processor");
        return;
    }
    say(row, FINDING_OK, "a small guest ran to its end", NULL);
    row = vmm_findings_add(f, "hardware");
    if (run_guest(hv, VARCH_PROBE_HARDWARE, why, sizeof(why)))
        say(row, FINDING_BAD,
            "this KVM emulates 64-bit guests in software: ordinary kernels do not run on it",
            "use a host with VT-x, SVM or EL2 (bare metal, or nested virtualisation switched on); "
            "here: ./demo.sh runs machines "
            "inside an emulated host");
    else
        say(row, FINDING_OK, "guests run on the processor itself", NULL);
}

void vmm_doctor_kvm(struct findings *f)
{
    struct vm_env env;
    struct hv *hv;
    int fd = open_kvm(f);

    if (fd < 0)
        return;
    vm_env_host(VM_LOG_ERROR, &env);
    env.log = NULL;
    if (hv_kvm_new(&env, fd, &hv)) {
        say(vmm_findings_add(f, "KVM"), FINDING_BAD, vm_error_text(), NULL);
        close(fd);
        return;
    }
    check_caps(f, hv);
    check_run(f, hv);
    hv_free(hv);
}
