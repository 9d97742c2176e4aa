/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The command line of a command: options, operands, help. */
#include <vmm/config/args.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/config/help.h>

#include "pick.h"
#include "text.h"

#define NAMES_MAX 256u
#define WHAT_MAX  96u

struct args {
    const struct vmm_command *command;
    void *object, *ctx;
    int argc, at; /* at: the next word */
    char *const *argv;
    const struct vmm_option *operand; /* the next one's row */
    bool only_operands; /* behind "--" */
    struct vm_buffer *out;
};

static const struct vmm_option *find_long(const struct vmm_command *command, const char *name,
                                          size_t len)
{
    for (const struct vmm_option *o = command->options; o && o->name; o++) {
        if (vmm_config_same(o->name, name, len) || vmm_config_same(o->alias_ch, name, len) ||
            vmm_config_same(o->alias_crosvm, name, len))
            return o;
    }
    return NULL;
}

static const struct vmm_option *find_short(const struct vmm_command *command, char letter)
{
    for (const struct vmm_option *o = command->options; o && o->name; o++) {
        if (o->letter == letter)
            return o;
    }
    return NULL;
}

static int unknown_option(const struct args *a, const char *name, size_t len)
{
    const char *names[NAMES_MAX] = { "help" }, *near;
    const char *command = a->command->name;
    char shown[48];
    size_t n = 1;

    for (const struct vmm_option *o = a->command->options; o && o->name; o++) {
        const char *own[] = { o->name, o->alias_ch, o->alias_crosvm };

        for (size_t i = 0; i < VM_ARRAY_SIZE(own); i++) {
            if (own[i] && n < NAMES_MAX - 1)
                names[n++] = own[i];
        }
    }
    names[n] = NULL;
    near = vm_nearest(name, len, names);
    vm_prop_show(name, len, shown, sizeof(shown));
    if (near)
        return vm_fail(-EINVAL, "%s: unknown option '--%s', did you mean '--%s'? see %s --help",
                       command, shown, near, command);
    return vm_fail(-EINVAL, "%s: unknown option '--%s'; see %s --help", command, shown, command);
}

static int help(const struct args *a)
{
    int rc = vmm_config_help_command(a->command, 0, a->out);

    return rc ? rc : VMM_CONFIG_HELP;
}

/* Only a text may be empty. In all else it is a shell's variable that was never set, which would pass as the default. */
static bool may_be_empty(const struct args *a, const struct vmm_option *option)
{
    const struct vm_prop *prop = vmm_config_option_prop(a->command, option);

    return prop && (prop->type == VM_PROP_STRING ||
                    (prop->type == VM_PROP_LIST && prop->element == VM_PROP_STRING));
}

/* what: the option as the user wrote it; operands have none before their name. */
static int refuse_empty(const struct args *a, const struct vmm_option *option, const char *what)
{
    if (what[0] != '-')
        return vm_fail(-EINVAL, "%s: %s is empty: %s", a->command->name, what, option->help);
    return vm_fail(-EINVAL, "%s: %s '' is empty: give %s %s, or leave it out", a->command->name,
                   what, what, option->argument);
}

/* The option as one for the property that the text picks. */
static int apply_picked(const struct args *a, const struct vmm_option *option, const char *what,
                        const char *value)
{
    struct vmm_option picked = *option;
    char *rest;
    int rc = vmm_config_pick(option, what, value, &picked.path, &rest);

    if (rc)
        return rc;
    rc = vmm_config_apply(a->command->model, &picked, a->object, what, rest, a->out);
    free(rest);
    return rc;
}

static int run(const struct args *a, const struct vmm_option *option, const char *what,
               const char *value)
{
    if (value && !*value && !may_be_empty(a, option))
        return refuse_empty(a, option, what);
    if (option->call)
        return option->call(a->ctx, option, value);
    if (!option->path || !a->command->model)
        return vm_fail(-EINVAL, "%s: %s: its row has no path: a bug of the table", a->command->name,
                       what);
    if (option->picks && value)
        return apply_picked(a, option, what, value);
    return vmm_config_apply(a->command->model, option, a->object, what, value, a->out);
}

/* Whether a word is one more value of the option before it: it begins with KEY= of its table,
 * or with the name of a class. Anything else may be an operand. */
static bool goes_on(const struct args *a, const struct vm_prop *prop, const char *word)
{
    size_t len = strcspn(word, ",=");
    const struct vm_prop *props = prop->props;
    struct vm_prop_class row;

    if (word[0] == '-')
        return false;
    if (prop->type == VM_PROP_VARIANTS) {
        const char *implied =
            a->command->model->classes ? a->command->model->classes->implied : NULL;

        if (word[len] != '=')
            return vmm_config_class(a->command->model, "", word, len, &row) == 0;
        if (!implied || vmm_config_class(a->command->model, "", implied, strlen(implied), &row))
            return false;
        props = row.props;
    }
    return word[len] == '=' && vm_prop_find(props, word, len);
}

static int run_option(struct args *a, const struct vmm_option *option, const char *what,
                      const char *value)
{
    const struct vm_prop *prop = vmm_config_option_prop(a->command, option);
    int rc = run(a, option, what, value);

    while (!rc && option->many && vmm_config_has_keys(prop) && a->at < a->argc &&
           goes_on(a, prop, a->argv[a->at]))
        rc = run(a, option, what, a->argv[a->at++]);
    return rc;
}

/* The next word as the option's value. */
static int next_value(struct args *a, const struct vmm_option *option, const char *what,
                      const char **ret_value)
{
    if (a->at >= a->argc)
        return vm_fail(-EINVAL, "%s: %s needs a value: %s %s", a->command->name, what, what,
                       option->argument);
    *ret_value = a->argv[a->at++];
    return 0;
}

static int parse_long(struct args *a, const char *word)
{
    size_t len = strcspn(word + 2, "=");
    const char *value = word[2 + len] ? word + 2 + len + 1 : NULL;
    const struct vmm_option *option = find_long(a->command, word + 2, len);
    char what[WHAT_MAX];
    int rc = 0;

    if (!option) {
        if (vmm_config_same("help", word + 2, len))
            return help(a);
        return unknown_option(a, word + 2, len);
    }
    vm_prop_show(word, 2 + len, what, sizeof(what));
    if (option->argument && !value)
        rc = next_value(a, option, what, &value);
    else if (!option->argument && value)
        rc = vm_fail(-EINVAL, "%s: %s takes no value", a->command->name, what);
    return rc ? rc : run_option(a, option, what, value);
}

/* Letters: those without argument may stand together, the rest of the word is the value of one
 * with. */
static int parse_short(struct args *a, const char *word)
{
    int rc = 0;

    for (const char *p = word + 1; !rc && *p; p++) {
        const struct vmm_option *option = find_short(a->command, *p);
        char what[4] = { '-', *p, '\0' };
        const char *value = p[1] ? p + 1 : NULL;

        if (!option && *p == 'h')
            return help(a);
        if (!option)
            return vm_fail(-EINVAL, "%s: unknown option '%s'; see %s --help", a->command->name,
                           what, a->command->name);
        if (!option->argument) {
            rc = run_option(a, option, what, NULL);
            continue;
        }
        if (!value)
            rc = next_value(a, option, what, &value);
        return rc ? rc : run_option(a, option, what, value);
    }
    return rc;
}

static int parse_operand(struct args *a, const char *word)
{
    const struct vmm_option *row = a->operand;
    char shown[64];

    if (!row || !row->name) {
        vm_prop_show(word, strlen(word), shown, sizeof(shown));
        return vm_fail(-EINVAL, "%s: '%s' is one word too many; see %s --help", a->command->name,
                       shown, a->command->name);
    }
    if (!row->many)
        a->operand++;
    return run(a, row, row->name, word);
}

static int parse_word(struct args *a, const char *word)
{
    if (a->only_operands || word[0] != '-' || !word[1])
        return parse_operand(a, word);
    if (strcmp(word, "--") == 0) {
        a->only_operands = true;
        return 0;
    }
    return word[1] == '-' ? parse_long(a, word) : parse_short(a, word);
}

/* seen: rows that got a word; a row that takes many stays the next one. */
static int check_operands(const struct args *a, const struct vmm_option *next, bool next_has_one)
{
    for (const struct vmm_option *row = next; row && row->name; row++) {
        if (row->required && !(row == next && next_has_one))
            return vm_fail(-EINVAL, "%s: %s is missing: %s", a->command->name, row->name,
                           row->help);
    }
    return 0;
}

int vmm_config_parse_args(const struct vmm_command *command, void *object, void *ctx, int argc,
                          char *const argv[], struct vm_buffer *out)
{
    struct args a = {
        .command = command,
        .object = object,
        .ctx = ctx,
        .argc = argc,
        .argv = argv,
        .operand = command->operands,
        .out = out,
    };
    bool next_has_one = false;
    int rc = 0;

    while (!rc && a.at < argc) {
        const struct vmm_option *before = a.operand;
        bool operand = a.only_operands || argv[a.at][0] != '-' || !argv[a.at][1];

        a.at++;
        rc = parse_word(&a, argv[a.at - 1]);
        if (operand)
            next_has_one = a.operand == before;
    }
    return rc ? rc : check_operands(&a, a.operand, next_has_one);
}
