/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The manual page, in the macros of man(7). No date stands in it, so that the same tables always
 * give the same bytes.
 */
#include <vmm/config/help.h>

#include <ctype.h>
#include <string.h>

#include "text.h"

/* Text for roff: no escapes, no requests at a line's start, real minus signs. */
static void put_roff(struct vmm_config_text *t, const char *text)
{
    bool start = true;

    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            vmm_config_put(t, "\\&");
        start = *text == '\n';
        if (*text == '\\')
            vmm_config_put(t, "\\e");
        else if (*text == '-')
            vmm_config_put(t, "\\-");
        else
            vmm_config_put_bytes(t, text, 1);
    }
}

static void put_heading(struct vmm_config_text *t, const char *macro, const char *text, bool upper)
{
    vmm_config_put(t, "%s \"", macro);
    for (; *text; text++) {
        char c = upper ? (char)toupper((unsigned char)*text) : *text;

        if (c == '"')
            vmm_config_put(t, "\\(dq");
        else if (c == '-')
            vmm_config_put(t, "\\-");
        else
            vmm_config_put_bytes(t, &c, 1);
    }
    vmm_config_put(t, "\"\n");
}

/* Paragraphs: an empty line becomes .PP. */
static void put_paragraphs(struct vmm_config_text *t, const char *text)
{
    while (*text) {
        const char *gap = strstr(text, "\n\n");
        char line[2048];
        size_t len = gap ? (size_t)(gap - text) : strlen(text);

        len = len < sizeof(line) ? len : sizeof(line) - 1;
        memcpy(line, text, len);
        line[len] = '\0';
        vmm_config_put(t, ".PP\n");
        put_roff(t, line);
        vmm_config_put(t, "\n");
        text += len + (gap && text + len == gap ? 2 : 0);
    }
}

static void put_prop(struct vmm_config_text *t, const struct vm_prop *prop, const char *prefix)
{
    struct vm_buffer part = { 0 };
    struct vmm_config_text x = { .out = &part };

    vmm_config_put(&x, "%s%s=", prefix, prop->name);
    vmm_config_put_form(&x, prop);
    vmm_config_put_bytes(&x, "\0", 1);
    vmm_config_put_help(&x, prop);
    t->rc = t->rc ? t->rc : vmm_config_finish(&x);
    if (!t->rc) {
        const char *form = (const char *)part.data;

        vmm_config_put(t, ".TP\n.B ");
        put_roff(t, form);
        vmm_config_put(t, "\n");
        put_roff(t, form + strlen(form) + 1);
        vmm_config_put(t, "\n");
    }
    vm_buffer_free(&part);
}

/* outer: the table that the rows are elements of a list in, or NULL. */
static void put_props(struct vmm_config_text *t, const struct vm_prop *props,
                      const struct vm_prop *outer, const char *prefix)
{
    for (const struct vm_prop *p = props; p && p->name; p++) {
        struct vm_buffer part = { 0 };
        struct vmm_config_text x = { .out = &part };
        bool many = p->type == VM_PROP_OBJECTS;

        if (p->type == VM_PROP_VARIANTS || vmm_config_told(outer, p))
            continue;
        if (p->type != VM_PROP_OBJECT)
            put_prop(t, p, prefix);
        if (p->type == VM_PROP_OBJECT || many) {
            vmm_config_put(&x, many ? "%s%s[]." : "%s%s.", prefix, p->name);
            t->rc = t->rc ? t->rc : vmm_config_finish(&x);
            if (!t->rc)
                put_props(t, p->props, many ? props : NULL, (const char *)part.data);
        }
        vm_buffer_free(&part);
    }
}

/* The row before o that has told the same keys, or NULL. */
static const struct vmm_option *told_before(const struct vmm_command *command,
                                            const struct vmm_option *o)
{
    for (const struct vmm_option *other = command->options; other != o; other++) {
        if (other->path && other->argument && strcmp(other->path, o->path) == 0)
            return other;
    }
    return NULL;
}

static void put_keys(struct vmm_config_text *t, const struct vmm_command *command,
                     const struct vmm_option *o, const struct vm_prop *prop)
{
    const struct vmm_option *other = told_before(command, o);

    if (prop->type == VM_PROP_VARIANTS) {
        vmm_config_put(t, "The classes and their keys stand under DEVICES.\n");
        return;
    }
    if (other) {
        vmm_config_put(t, "Its keys are those of \\fB\\-\\-");
        put_roff(t, other->name);
        vmm_config_put(t, "\\fP.\n");
        return;
    }
    vmm_config_put(t, ".RS\n");
    put_props(t, prop->props, NULL, "");
    vmm_config_put(t, ".RE\n");
}

static void put_option(struct vmm_config_text *t, const struct vmm_command *command,
                       const struct vmm_option *o)
{
    const struct vm_prop *prop = vmm_config_option_prop(command, o);
    const char *aliases[] = { o->alias_ch, o->alias_crosvm };

    vmm_config_put(t, ".TP\n");
    if (o->letter)
        vmm_config_put(t, "\\fB\\-%c\\fP, ", o->letter);
    vmm_config_put(t, "\\fB\\-\\-");
    put_roff(t, o->name);
    vmm_config_put(t, "\\fP");
    for (size_t i = 0; i < VM_ARRAY_SIZE(aliases); i++) {
        if (aliases[i]) {
            vmm_config_put(t, ", \\fB\\-\\-");
            put_roff(t, aliases[i]);
            vmm_config_put(t, "\\fP");
        }
    }
    if (o->argument) {
        vmm_config_put(t, " \\fI");
        put_roff(t, o->argument);
        vmm_config_put(t, "\\fP");
    }
    vmm_config_put(t, "\n");
    put_roff(t, o->help ? o->help : "");
    vmm_config_put(t, ".\n");
    if (o->argument && vmm_config_has_keys(prop))
        put_keys(t, command, o, prop);
}

static void put_command(struct vmm_config_text *t, const struct vmm_command *c)
{
    put_heading(t, ".SS", c->name, false);
    vmm_config_put(t, ".B ");
    put_roff(t, c->name);
    vmm_config_put(t, "\n[options]");
    for (const struct vmm_option *o = c->operands; o && o->name; o++)
        vmm_config_put(t, o->required ? " %s%s" : " [%s%s]", o->name, o->many ? "..." : "");
    vmm_config_put(t, "\n.PP\n");
    put_roff(t, c->summary);
    vmm_config_put(t, ".\n");
    if (c->text)
        put_paragraphs(t, c->text);
    for (const struct vmm_option *o = c->operands; o && o->name; o++) {
        vmm_config_put(t, ".TP\n.I ");
        put_roff(t, o->name);
        vmm_config_put(t, "\n");
        put_roff(t, o->help ? o->help : "");
        vmm_config_put(t, ".\n");
    }
    for (const struct vmm_option *o = c->options; o && o->name; o++)
        put_option(t, c, o);
}

static void put_classes(struct vmm_config_text *t, const struct vmm_config_classes *classes)
{
    struct vm_prop_class row;

    vmm_config_put(t, ".SH DEVICES\n");
    for (size_t i = 0; classes->at(classes->ctx, i, &row); i++) {
        put_heading(t, ".SS", row.name, false);
        put_roff(t, row.summary ? row.summary : "");
        vmm_config_put(t, ".\n");
        put_props(t, row.props, NULL, "");
    }
}

int vmm_config_man(const struct vmm_program *program, struct vm_buffer *out)
{
    struct vmm_config_text t = { .out = out };
    const struct vmm_config_classes *classes = NULL;

    vmm_config_put(&t, ".\\\" Made from the program's tables; do not edit.\n");
    put_heading(&t, ".TH", program->name, true);
    t.out->len -= t.rc ? 0 : 1; /* the rest of the title line */
    vmm_config_put(&t, " 1 \"\" \"%s %s\" \"User Commands\"\n", program->name, program->version);
    vmm_config_put(&t, ".SH NAME\n");
    put_roff(&t, program->name);
    vmm_config_put(&t, " \\- ");
    put_roff(&t, program->summary);
    vmm_config_put(&t, "\n.SH SYNOPSIS\n.B ");
    put_roff(&t, program->name);
    vmm_config_put(&t, "\n.I COMMAND\n[options]\n.SH COMMANDS\n");
    for (const struct vmm_command *c = program->commands; c->name; c++) {
        put_command(&t, c);
        if (c->model && c->model->classes)
            classes = c->model->classes;
    }
    if (classes)
        put_classes(&t, classes);
    return vmm_config_finish(&t);
}
