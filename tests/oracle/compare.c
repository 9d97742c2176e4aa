/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One sequence on both sides, each fresh from power-on; and what is left of it when all that does not matter is gone. */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

enum { SHRINK_RUNS = 150 };

struct both {
    const struct oracle_target *target;
    struct qtest *q;
    struct oracle_place ours[ORACLE_SPACES], qemu[ORACLE_SPACES];
    struct oracle_events ours_events, qemu_events;
    uint64_t before;
};

/* Gives the port behind which the register is now. */
static uint64_t qemu_select(struct both *b, const struct oracle_place *p, uint32_t at)
{
    qtest_write(b->q, true, p->base, 1, at);
    return p->base + 1;
}

static uint64_t qemu_read(struct both *b, const struct oracle_op *op)
{
    const struct oracle_place *p = &b->qemu[op->space];
    uint64_t at = p->base + op->at;

    if (p->kind == ORACLE_CONFIG)
        return qtest_config_read(b->q, (unsigned)(at >> 12), at & 0xfff, op->len);
    if (p->kind == ORACLE_INDEXED)
        return qtest_read(b->q, true, qemu_select(b, p, op->at), 1);
    return qtest_read(b->q, p->kind == ORACLE_PIO, at, op->len);
}

static void qemu_write(struct both *b, const struct oracle_op *op)
{
    const struct oracle_place *p = &b->qemu[op->space];
    uint64_t at = p->base + op->at;

    if (p->kind == ORACLE_CONFIG)
        qtest_config_write(b->q, (unsigned)(at >> 12), at & 0xfff, op->len, (uint32_t)op->value);
    else if (p->kind == ORACLE_INDEXED)
        qtest_write(b->q, true, qemu_select(b, p, op->at), 1, op->value);
    else
        qtest_write(b->q, p->kind == ORACLE_PIO, at, op->len, op->value);
}

/* Does it on both sides. */
static void step(struct both *b, const struct oracle_op *op, uint64_t *ret_ours, uint64_t *ret_qemu)
{
    const struct oracle_target *t = b->target;

    *ret_ours = *ret_qemu = 0;
    switch (op->kind) {
    case ORACLE_READ:
        *ret_ours = t->read(&b->ours[op->space], op->at, op->len);
        *ret_qemu = qemu_read(b, op);
        break;
    case ORACLE_WRITE:
        t->write(&b->ours[op->space], op->at, op->len, op->value);
        qemu_write(b, op);
        break;
    case ORACLE_PIN:
        t->pin(op->at, op->value);
        qtest_pin(b->q, t->pin_path, op->at, op->value);
        break;
    }
    t->events(&b->ours_events);
    qtest_events(b->q, &b->qemu_events);
}

/* Only the kinds that this target compares. */
static void keep(const struct oracle_target *t, struct oracle_events *e)
{
    unsigned n = 0, all = e->count < ORACLE_EVENTS ? e->count : ORACLE_EVENTS;

    for (unsigned i = 0; i < all; i++)
        if (e->event[i].type == ORACLE_LINE ? t->lines : t->messages)
            e->event[n++] = e->event[i];
    e->count = n;
}

static bool same_events(const struct oracle_events *a, const struct oracle_events *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (a->event[i].type != b->event[i].type || a->event[i].value != b->event[i].value)
            return false;
    return true;
}

static void print_events(FILE *f, const struct oracle_events *e)
{
    for (unsigned i = 0; i < e->count; i++)
        if (e->event[i].type == ORACLE_LINE)
            fprintf(f, " line %s", e->event[i].value ? "up" : "down");
        else
            fprintf(f, " message %#x", e->event[i].value);
    if (!e->count)
        fprintf(f, " nothing");
}

static void describe(const struct oracle_diff *d, char *text)
{
    FILE *f = fmemopen(text, ORACLE_TEXT, "w");

    if (!f)
        return;
    oracle_print_op(f, d->run->target, d->op);
    if (d->events) {
        fprintf(f, ": ours");
        print_events(f, d->ours_events);
        fprintf(f, "; QEMU");
        print_events(f, d->qemu_events);
    } else {
        fprintf(f, ": ours %#llx, QEMU %#llx", (unsigned long long)d->ours,
                (unsigned long long)d->qemu);
    }
    fclose(f);
}

/* One access; false: it differs without an explanation. */
static bool check(struct both *b, const struct oracle_case *run, size_t n, unsigned *used,
                  char *text)
{
    struct oracle_diff d = { .run = run,
                             .step = n,
                             .op = &run->op[n],
                             .before = b->before,
                             .ours_events = &b->ours_events,
                             .qemu_events = &b->qemu_events };
    bool explained = true;

    step(b, d.op, &d.ours, &d.qemu);
    b->before = d.op->kind == ORACLE_READ ? d.qemu : b->before;
    keep(b->target, &b->ours_events);
    keep(b->target, &b->qemu_events);
    if (d.ours != d.qemu)
        explained = oracle_explained(&d, used);
    if (explained && !same_events(&b->ours_events, &b->qemu_events)) {
        d.events = true;
        explained = oracle_explained(&d, used);
    }
    if (explained)
        return true;
    describe(&d, text);
    if (run->survey)
        printf("# %zu: %s\n", n, text);
    return run->survey;
}

static int prepare(struct both *b)
{
    int rc = b->target->set_up(b->q, b->ours, b->qemu);

    if (b->target->lines)
        qtest_watch_lines(b->q);
    b->target->events(&b->ours_events);
    qtest_events(b->q, &b->qemu_events);
    return rc;
}

enum oracle_result oracle_run(const struct oracle_case *run, unsigned *used, size_t *ret_step,
                              char *text)
{
    enum oracle_result result = ORACLE_SAME;
    struct both b = { .target = run->target };
    int rc;

    b.q = qtest_start(oracle_qemu_of(run->target), run->target->arguments);
    if (!b.q)
        return ORACLE_BROKEN;
    rc = run->target->open();
    if (!rc)
        rc = prepare(&b);
    if (rc)
        fprintf(stderr, "# %s: cannot be set up (%d)\n", run->target->name, rc);
    for (size_t i = 0; !rc && i < run->count && result == ORACLE_SAME && !qtest_failed(b.q); i++)
        if (!check(&b, run, i, used, text)) {
            result = ORACLE_DIFFERS;
            *ret_step = i;
        }
    if (rc || qtest_failed(b.q))
        result = ORACLE_BROKEN;
    run->target->close();
    qtest_stop(b.q);
    return result;
}

/* It still fails in the same way without count accesses from first on: then they go, and what comes behind the failure. */
static bool try_without(struct oracle_case *run, const char *failure, size_t first, size_t count)
{
    struct oracle_case shorter = { .target = run->target, .count = run->count - count };
    char text[ORACLE_TEXT] = "";
    size_t at;
    bool fails;

    shorter.op = calloc(shorter.count + 1, sizeof(*shorter.op));
    if (!shorter.op)
        return false;
    memcpy(shorter.op, run->op, first * sizeof(*run->op));
    memcpy(shorter.op + first, run->op + first + count,
           (run->count - first - count) * sizeof(*run->op));
    fails = oracle_run(&shorter, NULL, &at, text) == ORACLE_DIFFERS && !strcmp(text, failure);
    if (fails) {
        run->count = at + 1;
        memcpy(run->op, shorter.op, run->count * sizeof(*run->op));
    }
    free(shorter.op);
    return fails;
}

void oracle_shrink(struct oracle_case *run, const char *failure)
{
    unsigned runs = 0;

    for (size_t piece = run->count / 2; piece && runs < SHRINK_RUNS; piece /= 2)
        for (size_t first = 0; first + piece < run->count && runs < SHRINK_RUNS; runs++)
            if (!try_without(run, failure, first, piece))
                first += piece;
}
