/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library hypervisor alone: five instructions in a virtual machine on /dev/kvm (x86_64). The guest multiplies six by
 * seven, writes the product to port 0x80 and halts. Leaves with status 77 where /dev/kvm cannot be opened.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/hypervisor/kvm.h>

enum { RAM_BYTES = 0x10000, CODE_AT = 0x1000, EXITS_MAX = 10, SKIPPED = 77 };

static const uint8_t code[] = {
    0xb0, 6, /* mov $6, %al */
    0xb3, 7, /* mov $7, %bl */
    0xf6, 0xe3, /* mul %bl */
    0xe6, 0x80, /* out %al, $0x80 */
    0xf4, /* hlt */
};

/* Real mode, at CODE_AT of segment 0. */
static int set_start(struct hv_vcpu *vcpu)
{
    struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2 };
    struct kvm_sregs sregs;
    int rc = hv_vcpu_get(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs));

    if (rc)
        return rc;
    sregs.cs.selector = 0;
    sregs.cs.base = 0;
    rc = hv_vcpu_set(vcpu, HV_STATE_SREGS, &sregs, sizeof(sregs));
    return rc ? rc : hv_vcpu_set(vcpu, HV_STATE_REGS, &regs, sizeof(regs));
}

static int run_vcpu(struct hv_vcpu *vcpu)
{
    struct hv_exit exit;
    int rc = set_start(vcpu);

    for (int i = 0; !rc && i < EXITS_MAX; i++) {
        rc = hv_vcpu_run(vcpu, &exit);
        if (rc)
            return vm_fail(rc, "run");
        if (exit.reason == HV_EXIT_HLT) {
            printf("the guest halts\n");
            return 0;
        }
        if (exit.reason == HV_EXIT_PIO)
            printf("port %#x: %u\n", exit.pio.port, exit.pio.data[0]);
        else if (exit.reason != HV_EXIT_INTR)
            return vm_fail(-1, "unexpected exit: %s", hv_exit_name(exit.reason));
    }
    return rc ? rc : vm_fail(-1, "the guest does not halt");
}

static int run_vm(struct hv *hv, void *ram)
{
    struct hv_vm_config config = { 0 };
    struct hv_slot slot = { .size = RAM_BYTES, .host = ram };
    struct hv_vcpu *vcpu;
    struct hv_vm *vm;
    int rc = hv_vm_new(hv, &config, &vm);

    if (rc)
        return rc;
    rc = hv_vm_set_slot(vm, &slot);
    if (!rc)
        rc = hv_vcpu_new(vm, 0, &vcpu);
    if (!rc) {
        rc = run_vcpu(vcpu);
        hv_vcpu_free(vcpu);
    }
    hv_vm_free(vm);
    return rc;
}

int main(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), rc;
    struct vm_env env;
    struct hv *hv;
    uint8_t *ram;

    if (fd < 0) {
        perror("hypervisor: /dev/kvm");
        return SKIPPED;
    }
    vm_env_host(VM_LOG_INFO, &env);
    ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ram == MAP_FAILED)
        return 1;
    memcpy(ram + CODE_AT, code, sizeof(code));
    rc = hv_kvm_new(&env, fd, &hv);
    if (rc) {
        close(fd);
    } else {
        rc = run_vm(hv, ram);
        hv_free(hv);
    }
    if (rc)
        fprintf(stderr, "hypervisor: %s\n", vm_error_text());
    munmap(ram, RAM_BYTES);
    return rc ? 1 : 0;
}
