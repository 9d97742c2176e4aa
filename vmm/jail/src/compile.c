/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * From rows to a program of classic BPF over struct seccomp_data (linux/seccomp.h: number, architecture, instruction pointer,
 * six arguments). libseccomp could do that, too; here the order is ours, because one of the calls is made at each exit of a
 * guest (docs/decisions/0009-own-filter-programs.md).
 *
 *     load architecture; another one (int 0x80 on x86): refuse
 *     load number
 *     for each call whose rows all have checks, in the order of the rows:
 *         another number: next call
 *         each row: load argument words and compare; all equal: allow, else the next row
 *         errno of the call, or refuse
 *     for each other call: that number: allow (or errno)
 *     refuse
 *
 * x86's x32 calls have the number's bit 30 set and therefore match nothing.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "filter_private.h"

enum { INSN_MAX = BPF_MAXINSNS, JUMP_MAX = 255, ROW_JUMPS = 4, NOTHING = -1 };

/* Loads of struct seccomp_data are of 32 bits; both architectures are little endian here. */
#define AT_NUMBER        ((uint32_t)offsetof(struct seccomp_data, nr))
#define AT_ARCH          ((uint32_t)offsetof(struct seccomp_data, arch))
#define AT_ARG(n, upper) ((uint32_t)(offsetof(struct seccomp_data, args) + 8 * (n) + 4 * (upper)))

struct emit {
    const struct vmm_jail_filter *filter;
    enum vmm_jail_arch arch;
    uint32_t refuse; /* what is returned for what is not allowed */
    struct sock_filter *insn;
    size_t count, room;
    int64_t
        loaded; /* offset of the word that is in the accumulator whichever way this place was reached, or NOTHING */
    int rc;
};

static size_t put(struct emit *e, uint16_t code, uint32_t k)
{
    if (e->count == INSN_MAX)
        e->rc = -E2BIG;
    if (!e->rc && e->count == e->room) {
        size_t room = e->room ? 2 * e->room : 64;
        void *insn = realloc(e->insn, room * sizeof(*e->insn));

        if (insn) {
            e->insn = insn;
            e->room = room;
        } else {
            e->rc = -ENOMEM;
        }
    }
    if (e->rc)
        return 0;
    e->insn[e->count] = (struct sock_filter){ .code = code, .k = k };
    return e->count++;
}

static void put_return(struct emit *e, uint32_t what)
{
    put(e, BPF_RET | BPF_K, what);
}

static void put_load(struct emit *e, uint32_t offset)
{
    if (e->loaded != offset)
        put(e, BPF_LD | BPF_W | BPF_ABS, offset);
    e->loaded = offset;
}

/* If the accumulator is not k, `skip` instructions are left out. */
static void put_unless_skip(struct emit *e, uint32_t k, uint8_t skip)
{
    size_t at = put(e, BPF_JMP | BPF_JEQ | BPF_K, k);

    if (!e->rc)
        e->insn[at].jf = skip;
}

/* ---- one row ---- */

struct row_jumps {
    size_t at[ROW_JUMPS]; /* jumps out of the row where a word differs */
    unsigned count;
};

static void word(struct emit *e, struct row_jumps *j, uint32_t offset, uint32_t mask,
                 uint32_t value)
{
    if (!mask)
        return;
    put_load(e, offset);
    if (mask != UINT32_MAX) {
        put(e, BPF_ALU | BPF_AND | BPF_K, mask);
        e->loaded = NOTHING;
    }
    j->at[j->count++] = put(e, BPF_JMP | BPF_JEQ | BPF_K, value);
}

static void put_row(struct emit *e, const struct vm_jail_rule *rule)
{
    struct row_jumps j = { 0 };

    for (size_t i = 0; i < 2; i++) {
        const struct vm_jail_check *c = &rule->check[i];

        word(e, &j, AT_ARG(c->argument, 1), (uint32_t)(c->mask >> 32), (uint32_t)(c->value >> 32));
        word(e, &j, AT_ARG(c->argument, 0), (uint32_t)c->mask, (uint32_t)c->value);
    }
    put_return(e, rule->error ? SECCOMP_RET_ERRNO | rule->error : SECCOMP_RET_ALLOW);
    for (unsigned i = 0; i < j.count && !e->rc; i++)
        e->insn[j.at[i]].jf = (uint8_t)(e->count - j.at[i] - 1);
    /* After several comparisons it depends on which one failed. */
    if (j.count != 1)
        e->loaded = NOTHING;
}

/* ---- one call ---- */

/* Of a call: whether it is allowed whatever its arguments, and else the errno it is refused with (0: none). */
struct call {
    bool open;
    uint16_t error;
};

static bool is_first(const struct emit *e, size_t n)
{
    int number = e->filter->row[n].number[e->arch];

    for (size_t i = 0; i < n; i++)
        if (e->filter->row[i].number[e->arch] == number)
            return false;
    return number >= 0;
}

static struct call look_at(const struct emit *e, int number)
{
    struct call call = { 0 };

    for (size_t i = 0; i < e->filter->count; i++) {
        const struct vm_jail_rule *rule = e->filter->row[i].rule;

        if (e->filter->row[i].number[e->arch] != number || vmm_jail_rule_checks(rule))
            continue;
        if (rule->error)
            call.error = rule->error;
        else
            call.open = true;
    }
    return call;
}

static bool has_checks(const struct emit *e, int number)
{
    for (size_t i = 0; i < e->filter->count; i++)
        if (e->filter->row[i].number[e->arch] == number &&
            vmm_jail_rule_checks(e->filter->row[i].rule))
            return true;
    return false;
}

/* All rows of a call: those that allow, then those with an errno. */
static void put_rows(struct emit *e, int number, bool with_error)
{
    for (size_t i = 0; i < e->filter->count; i++) {
        const struct vm_jail_rule *rule = e->filter->row[i].rule;

        if (e->filter->row[i].number[e->arch] == number && vmm_jail_rule_checks(rule) &&
            !rule->error != with_error)
            put_row(e, rule);
    }
}

/* The accumulator holds the number before and, where it is another one, after. A call with so many rows that they cannot be
 * jumped over in one conditional jump has a long one in front. */
static void put_checked_call(struct emit *e, int number, struct call call)
{
    size_t test = put(e, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number);
    size_t skip = put(e, BPF_JMP | BPF_JA, 0), start = e->count;

    e->loaded = NOTHING;
    put_rows(e, number, false);
    put_rows(e, number, true);
    put_return(e, call.error ? SECCOMP_RET_ERRNO | call.error : e->refuse);
    e->loaded = AT_NUMBER;
    if (e->rc)
        return;
    e->insn[test].jt = 1;
    e->insn[skip].k = (uint32_t)(e->count - start);
}

static void put_plain_call(struct emit *e, int number, struct call call)
{
    put_unless_skip(e, (uint32_t)number, 1);
    put_return(e, call.open ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | call.error);
}

static void put_calls(struct emit *e, bool checked)
{
    for (size_t i = 0; i < e->filter->count; i++) {
        int number = e->filter->row[i].number[e->arch];
        struct call call;

        if (!is_first(e, i))
            continue;
        call = look_at(e, number);
        if ((!call.open && has_checks(e, number)) != checked)
            continue;
        if (checked)
            put_checked_call(e, number, call);
        else
            put_plain_call(e, number, call);
    }
}

static void put_program(struct emit *e)
{
    put_load(e, AT_ARCH);
    put_unless_skip(e, vmm_jail_arch_audit(e->arch), 0);
    if (!e->rc) {
        e->insn[e->count - 1].jt = 1;
        put_return(e, e->refuse);
    }
    put_load(e, AT_NUMBER);
    put_calls(e, true);
    put_calls(e, false);
    put_return(e, e->refuse);
}

int vmm_jail_filter_compile(const struct vmm_jail_filter *filter, enum vmm_jail_arch arch,
                            enum vmm_jail_action action, struct vmm_jail_program **ret_program)
{
    static const uint32_t refuse[] = {
        [VMM_JAIL_KILL] = SECCOMP_RET_KILL_PROCESS,
        [VMM_JAIL_TRAP] = SECCOMP_RET_TRAP,
        [VMM_JAIL_LOG] = SECCOMP_RET_LOG,
    };
    struct emit e = { .filter = filter, .arch = arch, .refuse = refuse[action], .loaded = NOTHING };
    struct vmm_jail_program *program = NULL;

    put_program(&e);
    if (!e.rc)
        program = malloc(sizeof(*program) + e.count * sizeof(*e.insn));
    if (!program) {
        free(e.insn);
        return e.rc == -E2BIG
                   ? vm_fail(e.rc, "filter of %s: over %d instructions: fewer rows are needed",
                             filter->name, INSN_MAX)
                   : vm_fail(-ENOMEM, "filter of %s: no memory for its program", filter->name);
    }
    program->count = (uint32_t)e.count;
    memcpy(program->insn, e.insn, e.count * sizeof(*e.insn));
    free(e.insn);
    *ret_program = program;
    return 0;
}
