/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Fuzz target: policy files. What is accepted makes a filter that is printed and read again to the same program. */
#include <stdlib.h>
#include <string.h>

#include <vmm/base/state.h>
#include <vmm/jail/policy.h>

static void check(bool fine)
{
    if (!fine)
        abort();
}

static void add_line(void *ctx, const char *text)
{
    check(!vm_buffer_add(ctx, text, strlen(text)) && !vm_buffer_add(ctx, "\n", 1));
}

static struct vmm_jail_program *compile(const struct vmm_jail_policy *policy, struct vm_buffer *out)
{
    struct vmm_jail_program *program = NULL;
    struct vmm_jail_filter *filter;

    check(!vmm_jail_filter_new("fuzz", &filter));
    if (!vmm_jail_filter_add(filter, "file", vmm_jail_policy_rows(policy))) {
        if (vmm_jail_filter_compile(filter, VMM_JAIL_X86_64, VMM_JAIL_KILL, &program))
            program = NULL;
        if (out)
            vmm_jail_filter_print(filter, VMM_JAIL_X86_64, add_line, out);
    }
    vmm_jail_filter_free(filter);
    return program;
}

static void compare(const struct vmm_jail_program *program, const struct vm_buffer *text)
{
    struct vmm_jail_program *again;
    struct vmm_jail_policy *policy;

    check(!vmm_jail_policy_parse("again", (const char *)text->data, text->len, &policy));
    again = compile(policy, NULL);
    check(again && again->count == program->count &&
          !memcmp(again->insn, program->insn, program->count * sizeof(*program->insn)));
    free(again);
    vmm_jail_policy_free(policy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmm_jail_program *program;
    struct vmm_jail_policy *policy;
    struct vm_buffer text = { 0 };

    if (vmm_jail_policy_parse("file", (const char *)data, size, &policy))
        return 0;
    program = compile(policy, &text);
    if (program && text.len && text.len <= VMM_JAIL_POLICY_MAX)
        compare(program, &text);
    free(program);
    vm_buffer_free(&text);
    vmm_jail_policy_free(policy);
    return 0;
}
