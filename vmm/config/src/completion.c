/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Shell completion. The bash script holds, as one case per command and option, what may follow; a
 * small function at its end joins the words that bash cut at '=' and offers keys and values behind
 * commas. zsh and fish get the options with their help.
 */
#include <vmm/config/help.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>

#include "text.h"

static const char *verb_of(const struct vmm_command *c)
{
    const char *space = strrchr(c->name, ' ');

    return space ? space + 1 : c->name;
}

/* Text inside single quotes of a shell. */
static void put_quoted(struct vmm_config_text *t, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            vmm_config_put(t, "'\\''");
        else
            vmm_config_put_bytes(t, text, 1);
    }
}

/* What a value may be: words, "@file", or nothing to offer. */
static void put_values(struct vmm_config_text *t, const struct vm_prop *prop)
{
    if (prop->type == VM_PROP_PATH)
        vmm_config_put(t, "@file");
    else if (prop->type == VM_PROP_BOOL)
        vmm_config_put(t, "on off");
    for (size_t i = 0; prop->type == VM_PROP_ENUM && prop->values[i]; i++)
        vmm_config_put(t, "%s%s", i ? " " : "", prop->values[i]);
}

static void put_keys(struct vmm_config_text *t, const struct vm_prop *props, const char *prefix)
{
    for (const struct vm_prop *p = props; p && p->name; p++) {
        char nested[128];

        if (p->type == VM_PROP_OBJECT) {
            snprintf(nested, sizeof(nested), "%s%s.", prefix, p->name);
            put_keys(t, p->props, nested);
        } else if (p->type != VM_PROP_VARIANTS) {
            vmm_config_put(t, " %s%s=", prefix, p->name);
        }
    }
}

static void put_key_values(struct vmm_config_text *t, const char *verb, const char *option,
                           const struct vm_prop *props, const char *prefix)
{
    for (const struct vm_prop *p = props; p && p->name; p++) {
        char nested[128];

        if (p->type == VM_PROP_OBJECT) {
            snprintf(nested, sizeof(nested), "%s%s.", prefix, p->name);
            put_key_values(t, verb, option, p->props, nested);
        }
        if (p->type == VM_PROP_PATH || p->type == VM_PROP_BOOL || p->type == VM_PROP_ENUM) {
            vmm_config_put(t, "    '%s %s %s%s') echo '", verb, option, prefix, p->name);
            put_values(t, p);
            vmm_config_put(t, "' ;;\n");
        }
    }
}

/* "help" and the names of the classes; the keys of a class stand in a case of its own. */
static void bash_classes(struct vmm_config_text *t, const struct vmm_config_classes *classes,
                         const char *verb, const char *option)
{
    struct vm_prop_class row;

    vmm_config_put(t, "    '%s %s') echo 'help", verb, option);
    for (size_t i = 0; classes && classes->at(classes->ctx, i, &row); i++)
        vmm_config_put(t, " %s", row.name);
    vmm_config_put(t, "' ;;\n");
    for (size_t i = 0; classes && classes->at(classes->ctx, i, &row); i++) {
        char name[128];

        snprintf(name, sizeof(name), "%s,%s", option, row.name);
        vmm_config_put(t, "    '%s %s') echo 'help", verb, name);
        put_keys(t, row.props, "");
        vmm_config_put(t, "' ;;\n");
        put_key_values(t, verb, name, row.props, "");
    }
}

static void bash_option(struct vmm_config_text *t, const struct vmm_command *c,
                        const struct vmm_option *o, const char *name)
{
    const struct vm_prop *prop = vmm_config_option_prop(c, o);
    const char *verb = verb_of(c);

    if (!o->argument)
        return;
    if (!prop) {
        vmm_config_put(t, "    '%s %s') echo '@file' ;;\n", verb, name);
    } else if (prop->type == VM_PROP_VARIANTS) {
        bash_classes(t, c->model->classes, verb, name);
    } else if (vmm_config_has_keys(prop)) {
        const struct vm_prop *first =
            o->first ? vm_prop_find(prop->props, o->first, strlen(o->first)) : NULL;

        vmm_config_put(t, "    '%s %s') echo '", verb, name);
        if (first)
            put_values(t, first);
        vmm_config_put(t, " help");
        put_keys(t, prop->props, "");
        vmm_config_put(t, "' ;;\n");
        put_key_values(t, verb, name, prop->props, "");
    } else {
        vmm_config_put(t, "    '%s %s') echo '", verb, name);
        put_values(t, prop);
        vmm_config_put(t, "' ;;\n");
    }
}

static void bash_command(struct vmm_config_text *t, const struct vmm_command *c)
{
    for (const struct vmm_option *o = c->options; o && o->name; o++) {
        const char *names[] = { o->name, o->alias_ch, o->alias_crosvm };
        char word[72];

        for (size_t i = 0; i < VM_ARRAY_SIZE(names); i++) {
            if (!names[i])
                continue;
            snprintf(word, sizeof(word), "--%s", names[i]);
            bash_option(t, c, o, word);
        }
        if (o->letter) {
            snprintf(word, sizeof(word), "-%c", o->letter);
            bash_option(t, c, o, word);
        }
    }
}

static void bash_options_of(struct vmm_config_text *t, const struct vmm_command *c)
{
    vmm_config_put(t, "    '%s') echo '--help", verb_of(c));
    for (const struct vmm_option *o = c->options; o && o->name; o++)
        vmm_config_put(t, " --%s", o->name);
    vmm_config_put(t, "' ;;\n");
}

/* %1$s is the program's name. cur is the whole word at the cursor, word what bash takes for it:
 * it cuts at '=', so replies must begin where bash's word does. */
static const char bash_tail[] =
    "_%1$s_reply()\n"
    "{\n"
    "    local prefix=$1 have=$2 item; shift 2\n"
    "    for item in \"$@\"; do\n"
    "        if [[ $item == @file ]]; then\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            while IFS= read -r item; do COMPREPLY+=(\"$prefix$item\"); done "
    "< <(compgen -f -- \"$have\")\n"
    "        elif [[ $item == \"$have\"* ]]; then\n"
    "            COMPREPLY+=(\"$prefix$item\")\n"
    "            [[ $item == *= ]] && compopt -o nospace 2>/dev/null\n"
    "        fi\n"
    "    done\n"
    "}\n"
    "_%1$s()\n"
    "{\n"
    "    local line=${COMP_LINE:0:COMP_POINT} words cur word prev verb option key item prefix=\n"
    "    read -ra words <<< \"$line\"\n"
    "    [[ $line == *' ' ]] && words+=('')\n"
    "    cur=${words[-1]} word=${COMP_WORDS[COMP_CWORD]} verb=${words[1]}\n"
    "    [[ $word == '=' ]] && word=\n"
    "    COMPREPLY=()\n"
    "    if (( ${#words[@]} <= 2 )); then\n"
    "        _%1$s_reply '' \"$cur\" $(_%1$s_words commands)\n"
    "        return\n"
    "    fi\n"
    "    prev=${words[-2]}\n"
    "    if [[ $cur == --*=* ]]; then option=${cur%%%%=*} cur=${cur#*=}\n"
    "    elif [[ $prev == -* ]]; then option=$prev\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        _%1$s_reply '' \"$cur\" $(_%1$s_words \"$verb\")\n"
    "        return\n"
    "    else\n"
    "        _%1$s_reply '' \"$word\" @file\n"
    "        return\n"
    "    fi\n"
    "    item=${cur##*,}\n"
    "    if [[ $cur == *,* ]]; then\n"
    "        prefix=${cur%%,*},\n"
    "        [[ -n $(_%1$s_words \"$verb $option,${cur%%%%,*}\") ]] && option+=,${cur%%%%,*}\n"
    "    fi\n"
    "    if [[ $item == *=* ]]; then\n"
    "        key=${item%%%%=*}\n"
    "        _%1$s_reply '' \"${item#*=}\" $(_%1$s_words \"$verb $option $key\")\n"
    "        return\n"
    "    fi\n"
    "    [[ $prefix == *=* ]] && prefix=${prefix##*=}\n"
    "    _%1$s_reply \"$prefix\" \"$item\" $(_%1$s_words \"$verb $option\")\n"
    "}\n"
    "complete -F _%1$s %1$s\n";

/* The program's name is the only thing the tail needs; a format that is no literal would hide
 * from the compiler what it does. */
static void bash_put_tail(struct vmm_config_text *t, const char *name)
{
    for (const char *p = bash_tail; *p; p++) {
        if (strncmp(p, "%1$s", 4) == 0) {
            vmm_config_put(t, "%s", name);
            p += 3;
        } else if (strncmp(p, "%%", 2) == 0) {
            vmm_config_put(t, "%%");
            p++;
        } else {
            vmm_config_put_bytes(t, p, 1);
        }
    }
}

static void put_bash(struct vmm_config_text *t, const struct vmm_program *program)
{
    vmm_config_put(
        t, "# bash completion for %s, made from its tables\n_%s_words()\n{\n    case $1 in\n",
        program->name, program->name);
    vmm_config_put(t, "    commands) echo '");
    for (const struct vmm_command *c = program->commands; c->name; c++)
        vmm_config_put(t, "%s%s", c == program->commands ? "" : " ", verb_of(c));
    vmm_config_put(t, "' ;;\n");
    for (const struct vmm_command *c = program->commands; c->name; c++) {
        bash_options_of(t, c);
        bash_command(t, c);
    }
    vmm_config_put(t, "    esac\n}\n");
    bash_put_tail(t, program->name);
}

/* In zsh's option specs ':' and brackets mean something. */
static void zsh_help(struct vmm_config_text *t, const char *text)
{
    for (; text && *text; text++) {
        if (*text == ':' || *text == '[' || *text == ']' || *text == '\\')
            vmm_config_put(t, "\\");
        if (*text == '\'')
            vmm_config_put(t, "'\\''");
        else
            vmm_config_put_bytes(t, text, 1);
    }
}

/* What an option with keys may begin with: classes, or "help", words of the first key, keys. */
static void put_starts(struct vmm_config_text *t, const struct vmm_command *c,
                       const struct vmm_option *o, const struct vm_prop *prop)
{
    const struct vmm_config_classes *classes = c->model->classes;
    const struct vm_prop *first =
        o->first && prop->props ? vm_prop_find(prop->props, o->first, strlen(o->first)) : NULL;
    struct vm_prop_class row;

    vmm_config_put(t, "help");
    for (size_t i = 0;
         prop->type == VM_PROP_VARIANTS && classes && classes->at(classes->ctx, i, &row); i++)
        vmm_config_put(t, " %s", row.name);
    if (prop->type == VM_PROP_VARIANTS)
        return;
    if (first && (first->type == VM_PROP_BOOL || first->type == VM_PROP_ENUM)) {
        vmm_config_put(t, " ");
        put_values(t, first);
    }
    put_keys(t, prop->props, "");
}

/* ":SIZE:" and what to offer. */
static void zsh_value(struct vmm_config_text *t, const char *program, const struct vmm_command *c,
                      const struct vmm_option *o, const struct vm_prop *prop)
{
    if (!o->argument)
        return;
    vmm_config_put(t, ":");
    zsh_help(t, o->argument);
    vmm_config_put(t, ":");
    if (!prop || prop->type == VM_PROP_PATH) {
        vmm_config_put(t, "_files");
    } else if (vmm_config_has_keys(prop)) {
        vmm_config_put(t, "{_%s_keys ", program);
        put_starts(t, c, o, prop);
        vmm_config_put(t, "}");
    } else if (prop->type == VM_PROP_BOOL || prop->type == VM_PROP_ENUM) {
        vmm_config_put(t, "(");
        put_values(t, prop);
        vmm_config_put(t, ")");
    }
}

static void zsh_command(struct vmm_config_text *t, const char *program, const struct vmm_command *c)
{
    vmm_config_put(t, "    %s)\n        _arguments \\\n", verb_of(c));
    for (const struct vmm_option *o = c->options; o && o->name; o++) {
        const struct vm_prop *prop = vmm_config_option_prop(c, o);

        for (int letter = 0; letter < (o->letter ? 2 : 1); letter++) {
            if (letter)
                vmm_config_put(t, "            '*-%c[", o->letter);
            else
                vmm_config_put(t, "            '*--%s[", o->name);
            zsh_help(t, o->help);
            vmm_config_put(t, "]");
            zsh_value(t, program, c, o, prop);
            vmm_config_put(t, "' \\\n");
        }
    }
    vmm_config_put(t, "            '--help[this text]' '*:file:_files' ;;\n");
}

static void put_zsh(struct vmm_config_text *t, const struct vmm_program *program)
{
    vmm_config_put(t,
                   "#compdef %s\n# made from the program's tables\n"
                   "_%s_keys()\n{\n    compadd -S '' -- \"$@\"\n    _files\n}\n_%s()\n{\n",
                   program->name, program->name, program->name);
    vmm_config_put(t, "    local -a commands\n    commands=(\n");
    for (const struct vmm_command *c = program->commands; c->name; c++) {
        vmm_config_put(t, "        '%s:", verb_of(c));
        zsh_help(t, c->summary);
        vmm_config_put(t, "'\n");
    }
    vmm_config_put(t, "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n"
                      "        return\n    fi\n    local verb=$words[2]\n    shift words\n"
                      "    (( CURRENT-- ))\n    case $verb in\n");
    for (const struct vmm_command *c = program->commands; c->name; c++)
        zsh_command(t, program->name, c);
    vmm_config_put(t, "    esac\n}\n_%s \"$@\"\n", program->name);
}

static void fish_command(struct vmm_config_text *t, const char *program,
                         const struct vmm_command *c)
{
    const char *verb = verb_of(c);

    vmm_config_put(t, "complete -c %s -n __fish_use_subcommand -f -a %s -d '", program, verb);
    put_quoted(t, c->summary);
    vmm_config_put(t, "'\n");
    for (const struct vmm_option *o = c->options; o && o->name; o++) {
        const struct vm_prop *prop = vmm_config_option_prop(c, o);

        vmm_config_put(t, "complete -c %s -n '__fish_seen_subcommand_from %s' -l %s", program, verb,
                       o->name);
        if (o->letter)
            vmm_config_put(t, " -s %c", o->letter);
        if (o->argument)
            vmm_config_put(t, " -r");
        if (o->argument && prop && (prop->type == VM_PROP_BOOL || prop->type == VM_PROP_ENUM)) {
            vmm_config_put(t, " -f -a '");
            put_values(t, prop);
            vmm_config_put(t, "'");
        } else if (o->argument && prop && vmm_config_has_keys(prop)) {
            vmm_config_put(t, " -a '");
            put_starts(t, c, o, prop);
            vmm_config_put(t, "'");
        }
        vmm_config_put(t, " -d '");
        put_quoted(t, o->help ? o->help : "");
        vmm_config_put(t, "'\n");
    }
}

int vmm_config_completion(const struct vmm_program *program, enum vmm_config_shell shell,
                          struct vm_buffer *out)
{
    struct vmm_config_text t = { .out = out };

    switch (shell) {
    case VMM_CONFIG_BASH: put_bash(&t, program); break;
    case VMM_CONFIG_ZSH: put_zsh(&t, program); break;
    case VMM_CONFIG_FISH:
        vmm_config_put(&t, "# fish completion for %s, made from its tables\n", program->name);
        for (const struct vmm_command *c = program->commands; c->name; c++)
            fish_command(&t, program->name, c);
        break;
    }
    return vmm_config_finish(&t);
}
