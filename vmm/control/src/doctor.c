/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmm doctor: what this host can and cannot do, why, and how to mend it. */
#include "doctor.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <vmm/control/control.h>

#include "commands.h"
#include "report.h"

struct finding *vmm_findings_add(struct findings *f, const char *name)
{
    /* The list of checks is ours and shorter than the table. */
    struct finding *row = &f->row[f->count < FINDINGS_MAX ? f->count++ : FINDINGS_MAX - 1];

    *row = (struct finding){ .name = name };
    return row;
}

static const char *state_name(enum finding_state state)
{
    static const char *const names[] = { "ok", "note", "bad" };

    return names[state];
}

static int print_json(const struct findings *f, bool healthy)
{
    json_t *rows = json_array(), *root;
    char *text;
    int code;

    for (size_t i = 0; i < f->count; i++)
        json_array_append_new(rows, json_pack("{s:s,s:s,s:s,s:s?}", "check", f->row[i].name,
                                              "state", state_name(f->row[i].state), "text",
                                              f->row[i].text, "cure", f->row[i].cure));
    root = json_pack("{s:s,s:b,s:o}", "version", VMM_VERSION, "healthy", healthy, "checks", rows);
    text = json_dumps(root, JSON_INDENT(2));
    code = text ? vmm_command_print(text, strlen(text)) : VMM_EXIT_RESOURCE;
    if (!code)
        code = vmm_command_print("\n", 1);
    free(text);
    json_decref(root);
    return code;
}

static int print_text(const struct findings *f, bool healthy)
{
    struct vm_report r = { 0 };

    for (size_t i = 0; i < f->count; i++) {
        vm_report_add(&r, "%-4s  %-18s %s\n", state_name(f->row[i].state), f->row[i].name,
                      f->row[i].text);
        if (f->row[i].cure)
            vm_report_add(&r, "      %-18s -> %s\n", "", f->row[i].cure);
    }
    vm_report_add(&r, healthy
                          ? "This host can run machines.\n"
                          : "This host cannot run ordinary machines: see the lines marked bad.\n");
    return vmm_report_print(&r);
}

int vmm_command_doctor(struct session *s)
{
    struct findings *f = calloc(1, sizeof(*f));
    bool healthy = true;
    int code;

    if (!f)
        return VMM_EXIT_RESOURCE;
    vmm_doctor_kvm(f);
    vmm_doctor_host(f);
    for (size_t i = 0; i < f->count; i++)
        healthy &= f->row[i].state != FINDING_BAD;
    code = s->json ? print_json(f, healthy) : print_text(f, healthy);
    free(f);
    return code ? code : healthy ? VMM_EXIT_OK : VMM_EXIT_HOST;
}
