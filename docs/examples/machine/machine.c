/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library machine: builds a machine without KVM and prints its memory and what answers on its buses. With a hypervisor
 * (hv_kvm_new()) and a kernel in the same configuration, vmm_machine_start() would run it.
 */
#include <stdio.h>

#include <vmm/base/error.h>
#include <vmm/base/loop.h>
#include <vmm/devices/classes.h>
#include <vmm/machine/machine.h>

static const void *class_defaults(void *ctx, const struct vdev_class *cls, const char *id)
{
    (void)ctx, (void)cls, (void)id;
    return NULL;
}

static void ended(void *ctx, enum vmm_end end)
{
    (void)ctx;
    printf("ended: %s\n", vmm_end_name(end));
}

static void show(void *ctx, uint64_t base, uint64_t size, const char *name)
{
    (void)ctx;
    printf("%#-12llx %#-12llx %s\n", (unsigned long long)base, (unsigned long long)size, name);
}

int main(void)
{
    struct vm_env env;
    struct vmm_machine_config config = {
        .env = &env,
        .classes = vdev_classes,
        .arch = { .cpus = 1, .ram_bytes = 256 << 20, .segments = 1, .acpi = true, .serials = 1 },
        .kernel = { .name = "none", .fd = -1 },
        .initrd = { .name = "none", .fd = -1 },
        .platform = class_defaults,
        .ended = ended,
    };
    struct vmm_machine *machine;
    int rc;

    vm_env_host(VM_LOG_INFO, &env);
    rc = vm_loop_new(&env, 0, &env.loop);
    if (!rc)
        rc = vmm_machine_new(&config, &machine);
    if (!rc) {
        struct varch_range ram[2];
        unsigned count = vmm_machine_ram(machine, ram, VM_ARRAY_SIZE(ram));

        for (unsigned i = 0; i < count; i++)
            show(NULL, ram[i].base, ram[i].size, "RAM");
        vmm_machine_walk_bus(machine, false, show, NULL);
        printf("ports:\n");
        vmm_machine_walk_bus(machine, true, show, NULL);
        vmm_machine_free(machine);
    } else {
        fprintf(stderr, "machine: %s\n", vm_error_text());
    }
    vm_loop_free(env.loop);
    return rc ? 1 : 0;
}
