/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a device's page says from its class row alone (device-page.sh puts it there):
 *
 *   device-page            the folders of the classes of this build, one a line
 *   device-page FOLDER     the block of that class, as Markdown */
#include <stdio.h>
#include <string.h>

#include <vmm/base/util.h>
#include <vmm/devices/classes.h>

/* Text in a cell of a table. */
static void put_cell(const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            putchar('\\');
        putchar(*text);
    }
}

/* The folder of a class has its name with '_'. */
static void folder_of(const struct vdev_class *cls, char *ret_name, size_t room)
{
    snprintf(ret_name, room, "%s", cls->name);
    for (char *c = ret_name; *c; c++) {
        if (*c == '-')
            *c = '_';
    }
}

static const char *kind_name(const struct vdev_class *cls)
{
    switch (cls->kind) {
    case VDEV_PLATFORM: return "platform device";
    case VDEV_VIRTIO: return "virtio device";
    case VDEV_PCI: return "PCI device";
    }
    return "?";
}

static const char *backend_name(const struct vdev_class *cls)
{
    switch (cls->backend) {
    case VDEV_BACKEND_NONE: return "none";
    case VDEV_BACKEND_BLOCK: return "block";
    case VDEV_BACKEND_NET: return "net";
    case VDEV_BACKEND_CHAR: return "char";
    case VDEV_BACKEND_FS: return "fs";
    }
    return "?";
}

static void put_placements(unsigned placements)
{
    static const char *const names[] = { "thread", "process", "foreign" };
    const char *between = "";

    for (size_t i = 0; i < VM_ARRAY_SIZE(names); i++) {
        if (placements & 1u << i) {
            printf("%s%s", between, names[i]);
            between = ", ";
        }
    }
}

static void put_state(const struct vdev_class *cls)
{
    unsigned fields = 0;

    for (const struct vm_state_field *f = cls->state; f && f->tag; f++)
        fields++;
    if (fields)
        printf("version %u, %u %s", cls->state_version, fields, fields == 1 ? "field" : "fields");
    else
        printf("none of its own");
}

static void put_facts(const struct vdev_class *cls)
{
    printf("| `%s` | ", cls->name);
    put_cell(cls->summary);
    printf(" |\n|---|---|\n");
    printf("| kind | %s |\n| made | ", kind_name(cls));
    if (cls->internal)
        printf("by the machine only");
    else
        printf("`--device %s`", cls->name);
    printf(" |\n");
    printf("| back end | %s |\n| placements | ", backend_name(cls));
    put_placements(cls->placements);
    printf(" |\n| state | ");
    put_state(cls);
    printf(" |\n");
}

static const char *type_name(enum vm_prop_type type)
{
    static const char *const names[] = {
        [VM_PROP_BOOL] = "`on`, `off`", [VM_PROP_U32] = "number",
        [VM_PROP_U64] = "number",       [VM_PROP_SIZE] = "size",
        [VM_PROP_ENUM] = "one of",      [VM_PROP_STRING] = "text",
        [VM_PROP_PATH] = "path",        [VM_PROP_FD] = "descriptor",
        [VM_PROP_LIST] = "list",        [VM_PROP_OBJECT] = "object",
        [VM_PROP_OBJECTS] = "objects",  [VM_PROP_VARIANTS] = "objects",
    };

    return names[type];
}

/* A bound as the command line spells it. */
static void put_bound(const struct vm_prop *p, uint64_t bound)
{
    struct vm_prop row = { .name = p->name, .type = p->type };
    char text[32] = "";

    if (p->type != VM_PROP_SIZE)
        row.type = VM_PROP_U64; /* a number, also of bytes or elements */
    if (vm_prop_format(&row, &bound, text, sizeof(text)) >= 0)
        printf("%s", text);
}

static void put_range(const struct vm_prop *p)
{
    bool is_text = p->type == VM_PROP_STRING || p->type == VM_PROP_PATH;
    bool has_least = !is_text && (p->min || p->type < VM_PROP_LIST);

    if (p->max) {
        printf(has_least ? ", " : ", at most ");
        if (has_least) {
            put_bound(p, p->min);
            printf(" to ");
        }
        put_bound(p, p->max);
        printf(is_text ? " bytes" : "");
    } else if (p->min && !is_text) {
        printf(", at least ");
        put_bound(p, p->min);
    }
}

static void put_values(const struct vm_prop *p)
{
    if (p->type == VM_PROP_ENUM) {
        for (size_t i = 0; p->values[i]; i++) {
            printf("%s`", i ? ", " : "");
            put_cell(p->values[i]);
            printf("`");
        }
        return;
    }
    printf("%s", type_name(p->type));
    if (p->type == VM_PROP_LIST)
        printf(" of %s", type_name(p->element));
    if (p->type == VM_PROP_OBJECTS)
        printf(" `[[KEY=VALUE,...],...]`, at most %llu", (unsigned long long)p->max);
    else
        put_range(p);
}

static void put_option(const char *prefix, const struct vm_prop *p)
{
    printf("| `%s%s=` | ", prefix, p->name);
    put_values(p);
    if (p->required)
        printf(" | required | ");
    else if (p->preset)
        printf(" | `%s` | ", p->preset);
    else
        printf(p->type == VM_PROP_BOOL ? " | `off` | " : " | | ");
    put_cell(p->help);
    if (p->alias_crosvm)
        printf(" (crosvm: `%s`)", p->alias_crosvm);
    if (p->alias_ch)
        printf(" (cloud-hypervisor: `%s`)", p->alias_ch);
    if (p->live)
        printf(" (`vmm set`)");
    printf(" |\n");
}

static bool is_told(const struct vm_prop *outer, const struct vm_prop *p)
{
    for (; outer && outer->name; outer++)
        if (!strcmp(outer->name, p->name) && !strcmp(outer->help, p->help))
            return true;
    return false;
}

/* Of an element of a list only what the outer table does not say. */
static void put_options(const char *prefix, const struct vm_prop *props,
                        const struct vm_prop *outer)
{
    char below[128];

    for (const struct vm_prop *p = props; p->name; p++) {
        if (is_told(outer, p))
            continue;
        put_option(prefix, p);
        if (p->type == VM_PROP_OBJECTS) {
            snprintf(below, sizeof(below), "%s%s[].", prefix, p->name);
            put_options(below, p->props, props);
        }
    }
}

static void put_class(const struct vdev_class *cls)
{
    put_facts(cls);
    if (cls->props && cls->props->name) {
        printf("\n| Option | Value | Default | |\n|---|---|---|---|\n");
        put_options("", cls->props, NULL);
    }
    if (cls->metrics && cls->metrics->name) {
        printf("\n| Metric | |\n|---|---|\n");
        for (const struct vdev_metric *m = cls->metrics; m->name; m++) {
            printf("| `%s` | ", m->name);
            put_cell(m->help);
            printf(" |\n");
        }
    }
}

int main(int argc, char **argv)
{
    char folder[128];

    for (size_t i = 0; vdev_classes[i]; i++) {
        folder_of(vdev_classes[i], folder, sizeof(folder));
        if (argc < 2) {
            puts(folder);
        } else if (strcmp(folder, argv[1]) == 0) {
            put_class(vdev_classes[i]);
            return 0;
        }
    }
    if (argc < 2)
        return 0;
    fprintf(stderr, "device-page: this build has no class of devices/models/%s\n", argv[1]);
    return 1;
}
