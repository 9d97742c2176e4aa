/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * From rows to a program of classic BPF over struct seccomp_data (linux/seccomp.h: number, architecture, instruction pointer,
 * six arguments). libseccomp could do that, too; here the order is ours, because one of the calls is made at each exit of a
 * guest (docs/decisions/0009-own-filter-programs.md).
 *
 *     load architecture; another one (int 0x80 on x86): refuse
 *     load number
 *     the call of the first row, if all its rows have checks:
 *         each row: load argument words and compare; all equal: allow, else the next row
 *         errno of the call, or refuse
 *     the others, a binary tree over their numbers; in a leaf of at most eight:
 *         a call with checks or errno: as above
 *         the numbers that may be called in any way: allow
 *         refuse
 *
 * The tree is for the kernel's sake, which at each load tries all numbers it has to find those whose answer never depends on
 * arguments: with all calls in a row it took 0.9 million instructions for a device's 60.
 *
 * x86's x32 calls have the number's bit 30 set and therefore match nothing.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "filter_private.h"

enum { INSN_MAX = BPF_MAXINSNS, JUMP_MAX = 255, ROW_JUMPS = 4, LEAF_CALLS = 8, NOTHING = -1 };

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

/* Its rows together: whether it is allowed whatever its arguments, and else the errno it is refused with (0: none). */
struct call {
    int number;
    bool open, checked;
    uint16_t error;
};

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

/* A conditional jump at `at`, with room for a long one behind it, leaves out all that came since where its comparison is (taken) or is
 * not true. The long one stays only where it is needed: the kernel takes over 1,000 instructions to load each of ours. */
static void close_jump(struct emit *e, size_t at, bool taken)
{
    size_t size;

    if (e->rc)
        return;
    size = e->count - at - 2;
    if (size > JUMP_MAX) {
        *(taken ? &e->insn[at].jf : &e->insn[at].jt) = 1;
        e->insn[at + 1].k = (uint32_t)size;
        return;
    }
    memmove(&e->insn[at + 1], &e->insn[at + 2], size * sizeof(*e->insn));
    e->count--;
    *(taken ? &e->insn[at].jt : &e->insn[at].jf) = (uint8_t)size;
}

static size_t open_jump(struct emit *e, uint16_t comparison, int number)
{
    size_t at = put(e, (uint16_t)(BPF_JMP | comparison | BPF_K), (uint32_t)number);

    put(e, BPF_JMP | BPF_JA, 0);
    return at;
}

/* The accumulator holds the number before and, where it is another one, after. */
static void put_checked_call(struct emit *e, const struct call *call)
{
    size_t jump = open_jump(e, BPF_JEQ, call->number);

    e->loaded = NOTHING;
    put_rows(e, call->number, false);
    put_rows(e, call->number, true);
    put_return(e, call->error ? SECCOMP_RET_ERRNO | call->error : e->refuse);
    e->loaded = AT_NUMBER;
    close_jump(e, jump, false);
}

/* Few calls one after the other: first those that are more than a number, then the others, which share one return. */
static void put_leaf(struct emit *e, const struct call *call, size_t n)
{
    size_t jump[LEAF_CALLS], jumps = 0;

    for (size_t i = 0; i < n; i++)
        if (!call[i].open)
            put_checked_call(e, &call[i]);
    for (size_t i = 0; i < n; i++)
        if (call[i].open)
            jump[jumps++] = put(e, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call[i].number);
    put_return(e, e->refuse);
    if (!jumps)
        return;
    for (size_t i = 0; i < jumps && !e->rc; i++)
        e->insn[jump[i]].jt = (uint8_t)(e->count - jump[i] - 1);
    put_return(e, SECCOMP_RET_ALLOW);
}

/* Calls in the order of their numbers: halved until few are left. */
static void put_tree(struct emit *e, const struct call *call, size_t n)
{
    size_t half = n / 2, jump;

    if (n <= LEAF_CALLS) {
        put_leaf(e, call, n);
        return;
    }
    jump = open_jump(e, BPF_JGE, call[half].number);
    put_tree(e, call, half);
    close_jump(e, jump, true);
    put_tree(e, call + half, n - half);
}

/* ---- all calls ---- */

static struct call *find(struct call *call, size_t n, int number)
{
    for (size_t i = 0; i < n; i++)
        if (call[i].number == number)
            return &call[i];
    return NULL;
}

/* Each call once, in the order of the rows. */
static size_t list_calls(const struct emit *e, struct call *ret_call)
{
    size_t n = 0;

    for (size_t i = 0; i < e->filter->count; i++) {
        const struct vm_jail_rule *rule = e->filter->row[i].rule;
        int number = e->filter->row[i].number[e->arch];
        struct call *call;

        if (number < 0)
            continue;
        call = find(ret_call, n, number);
        if (!call) {
            call = &ret_call[n++];
            *call = (struct call){ .number = number };
        }
        if (vmm_jail_rule_checks(rule))
            call->checked = true;
        else if (rule->error)
            call->error = rule->error;
        else
            call->open = true;
    }
    return n;
}

static int by_number(const void *a, const void *b)
{
    return ((const struct call *)a)->number - ((const struct call *)b)->number;
}

static void put_calls(struct emit *e)
{
    struct call *call = malloc((e->filter->count + 1) * sizeof(*call)), *rest = call;
    size_t n;

    if (!call) {
        e->rc = -ENOMEM;
        return;
    }
    n = list_calls(e, call);
    if (n && call->checked && !call->open) {
        put_checked_call(e, call);
        rest++;
        n--;
    }
    qsort(rest, n, sizeof(*rest), by_number);
    put_tree(e, rest, n);
    free(call);
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
    put_calls(e);
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
