/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library config alone: the options of a program from one table. Try
 *
 *     config --memory 2G --disk a.img,readonly --disk path=b.img
 *     config --help        config --disk help        config --disk a.img,readnoly
 *
 * and see the same values printed as JSON.
 */
#include <stddef.h>
#include <stdio.h>

#include <vmm/base/error.h>
#include <vmm/config/args.h>
#include <vmm/config/json.h>

struct disk {
    char *path;
    bool readonly;
};

struct options {
    uint64_t memory;
    struct vm_prop_list disks;
};

static const struct vm_prop disk_props[] = {
    { .name = "path",
      .type = VM_PROP_PATH,
      .offset = offsetof(struct disk, path),
      .required = true,
      .help = "image file" },
    { .name = "readonly",
      .type = VM_PROP_BOOL,
      .offset = offsetof(struct disk, readonly),
      .help = "the guest may not write" },
    { 0 },
};

static const struct vm_prop props[] = {
    { .name = "memory",
      .type = VM_PROP_SIZE,
      .offset = offsetof(struct options, memory),
      .preset = "256M",
      .min = 1 << 20,
      .help = "RAM of the guest" },
    { .name = "disks",
      .type = VM_PROP_OBJECTS,
      .offset = offsetof(struct options, disks),
      .props = disk_props,
      .element_size = sizeof(struct disk),
      .help = "disks of the guest" },
    { 0 },
};

static const struct vmm_config_model model = { .props = props };

static const struct vmm_option option_rows[] = {
    { .name = "memory", .letter = 'm', .path = "memory", .argument = "SIZE", .help = "RAM" },
    { .name = "disk",
      .letter = 'd',
      .path = "disks",
      .argument = "PATH|KEY=VALUE,...",
      .first = "path",
      .many = true,
      .help = "add a disk" },
    { 0 },
};

static const struct vmm_command command = {
    .name = "config", .summary = "show options", .options = option_rows, .model = &model
};

int main(int argc, char *argv[])
{
    struct options o = { 0 };
    struct vm_buffer out = { 0 };
    int rc = vm_prop_defaults(props, &o);

    if (!rc)
        rc = vmm_config_parse_args(&command, &o, NULL, argc - 1, argv + 1, &out);
    if (!rc)
        rc = vm_prop_check(props, &o, "config");
    if (!rc)
        rc = vmm_config_save_json(&model, &o, VM_SURFACE_OWN, VMM_CONFIG_JSON_PRETTY, &out);
    if (rc < 0)
        fprintf(stderr, "config: %s\n", vm_error_text());
    else
        printf("%.*s\n", (int)out.len, (char *)out.data);
    vm_buffer_free(&out);
    vm_prop_free(props, &o);
    return rc < 0 ? 2 : 0;
}
