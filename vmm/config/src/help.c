/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Help for the terminal: two columns, wrapped. */
#include <vmm/config/help.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "text.h"

#define COMMAND_LEFT 16u

/* Where the explanations begin: on a narrow terminal on lines of their own. */
static unsigned left_column(unsigned width)
{
    return width < 60 ? 12 : 26;
}

int vmm_config_help_program(const struct vmm_program *program, unsigned width,
                            struct vm_buffer *out)
{
    struct vmm_config_text t = { .out = out };

    width = vmm_config_width(width);
    vmm_config_put(&t, "%s %s: %s\n\nUsage: %s COMMAND [...]\n\nCommands:\n", program->name,
                   program->version, program->summary, program->name);
    for (const struct vmm_command *c = program->commands; c->name; c++) {
        const char *verb = strrchr(c->name, ' ');

        vmm_config_put_columns(&t, 2, verb ? verb + 1 : c->name, COMMAND_LEFT, width, c->summary);
    }
    vmm_config_put(&t, "\n'%s COMMAND --help' tells more of one.\n", program->name);
    return vmm_config_finish(&t);
}

/* The text a call makes in a buffer of its own, for a column. Empty when there is no memory. */
static const char *made(struct vmm_config_text *t, struct vmm_config_text *part)
{
    int rc = vmm_config_finish(part);

    if (rc && !t->rc)
        t->rc = rc;
    return rc ? "" : (const char *)part->out->data;
}

static void put_aliases(struct vmm_config_text *t, const struct vmm_option *o)
{
    if (o->alias_ch && o->alias_crosvm)
        vmm_config_put(t, " (cloud-hypervisor: --%s; crosvm: --%s)", o->alias_ch, o->alias_crosvm);
    else if (o->alias_ch)
        vmm_config_put(t, " (cloud-hypervisor: --%s)", o->alias_ch);
    else if (o->alias_crosvm)
        vmm_config_put(t, " (crosvm: --%s)", o->alias_crosvm);
}

static void put_option(struct vmm_config_text *t, const struct vmm_command *command,
                       const struct vmm_option *o, unsigned width)
{
    const struct vm_prop *prop = vmm_config_option_prop(command, o);
    struct vm_buffer left = { 0 }, right = { 0 };
    struct vmm_config_text l = { .out = &left }, r = { .out = &right };

    if (o->letter)
        vmm_config_put(&l, "-%c, ", o->letter);
    else
        vmm_config_put(&l, "    ");
    vmm_config_put(&l, "--%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
    vmm_config_put(&r, "%s", o->help ? o->help : "");
    if (prop && o->argument)
        vmm_config_put_preset(&r, prop);
    if (o->argument && vmm_config_has_keys(prop))
        vmm_config_put(&r, "; keys: --%s help", o->name);
    put_aliases(&r, o);
    vmm_config_put_columns(t, 2, made(t, &l), left_column(width), width, made(t, &r));
    vm_buffer_free(&left);
    vm_buffer_free(&right);
}

static void put_options(struct vmm_config_text *t, const struct vmm_command *command,
                        unsigned width)
{
    static const struct vmm_option help_row = { .name = "help",
                                                .letter = 'h',
                                                .help = "this text" };
    bool has_help = false, has_letter = false;

    if (!command->options || !command->options->group)
        vmm_config_put(t, "\nOptions:\n");
    for (const struct vmm_option *o = command->options; o && o->name; o++) {
        if (o->group)
            vmm_config_put(t, "\n%s:\n", o->group);
        put_option(t, command, o, width);
        has_help |= strcmp(o->name, "help") == 0;
        has_letter |= o->letter == 'h';
    }
    if (!has_help) {
        struct vmm_option row = help_row;

        row.letter = has_letter ? 0 : 'h';
        put_option(t, command, &row, width);
    }
}

int vmm_config_help_command(const struct vmm_command *command, unsigned width,
                            struct vm_buffer *out)
{
    struct vmm_config_text t = { .out = out };

    width = vmm_config_width(width);
    vmm_config_put(&t, "%s: %s\n\nUsage: %s [options]", command->name, command->summary,
                   command->name);
    for (const struct vmm_option *o = command->operands; o && o->name; o++)
        vmm_config_put(&t, o->required ? " %s%s" : " [%s%s]", o->name, o->many ? "..." : "");
    vmm_config_put(&t, "\n");
    if (command->operands && command->operands->name)
        vmm_config_put(&t, "\n");
    for (const struct vmm_option *o = command->operands; o && o->name; o++)
        vmm_config_put_columns(&t, 2, o->name, left_column(width), width, o->help ? o->help : "");
    put_options(&t, command, width);
    return vmm_config_finish(&t);
}

static void put_prop(struct vmm_config_text *t, const struct vm_prop *prop, const char *prefix,
                     unsigned width)
{
    struct vm_buffer left = { 0 }, right = { 0 };
    struct vmm_config_text l = { .out = &left }, r = { .out = &right };

    vmm_config_put(&l, "%s%s=", prefix, prop->name);
    vmm_config_put_form(&l, prop);
    vmm_config_put_help(&r, prop);
    vmm_config_put_columns(t, 2, made(t, &l), left_column(width), width, made(t, &r));
    vm_buffer_free(&left);
    vm_buffer_free(&right);
}

/* outer: the table that the rows are elements of a list in, or NULL. */
static void put_props(struct vmm_config_text *t, const struct vm_prop *props,
                      const struct vm_prop *outer, const char *prefix, unsigned width)
{
    for (const struct vm_prop *p = props; p && p->name; p++) {
        struct vm_buffer below = { 0 };
        struct vmm_config_text b = { .out = &below };

        if (p->type == VM_PROP_VARIANTS || vmm_config_told(outer, p))
            continue;
        if (p->type != VM_PROP_OBJECT)
            put_prop(t, p, prefix, width);
        if (p->type == VM_PROP_OBJECT || p->type == VM_PROP_OBJECTS) {
            bool many = p->type == VM_PROP_OBJECTS;

            vmm_config_put(&b, many ? "%s%s[]." : "%s%s.", prefix, p->name);
            put_props(t, p->props, many ? props : NULL, made(t, &b), width);
        }
        vm_buffer_free(&below);
    }
}

int vmm_config_help_props(const struct vm_prop *props, const char *title, unsigned width,
                          struct vm_buffer *out)
{
    struct vmm_config_text t = { .out = out };

    vmm_config_put(&t, "%s\n\n", title);
    put_props(&t, props, NULL, "", vmm_config_width(width));
    return vmm_config_finish(&t);
}

int vmm_config_help_classes(const struct vmm_config_classes *classes, const char *title,
                            unsigned width, struct vm_buffer *out)
{
    struct vmm_config_text t = { .out = out };
    struct vm_prop_class row;

    width = vmm_config_width(width);
    vmm_config_put(&t, "%s\n\n", title);
    for (size_t i = 0; classes && classes->at(classes->ctx, i, &row); i++)
        vmm_config_put_columns(&t, 2, row.name, left_column(width), width,
                               row.summary ? row.summary : "");
    return vmm_config_finish(&t);
}
