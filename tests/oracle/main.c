/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * oracle TARGET [--seed N] [--count N] [--steps N] [--replay FILE] [--strict] [--survey] | --table
 *
 * Runs the recorded sequences of a target, then count random ones with the seeds N, N + 1, ... Output is TAP. Ends with 0; 1
 * (a difference that nobody explained); 77 (no QEMU here: skipped). --strict: a row of the table that was never needed fails, too.
 */
#include "oracle.h"

#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef ORACLE_RECORDED
#define ORACLE_RECORDED "tests/oracle/recorded"
#endif

enum { EXIT_SKIPPED = 77, COUNT = 25, STEPS = 1200 };

static const struct oracle_target *const targets[] = {
    &oracle_serial,      &oracle_ioapic, &oracle_cmos_rtc, &oracle_pci,   &oracle_virtio_pci,
    &oracle_virtio_mmio, &oracle_pl011,  &oracle_pl031,    &oracle_pl061,
};

struct options {
    const struct oracle_target *target;
    uint64_t seed, count, steps;
    const char *replay;
    bool strict, survey;
};

struct report {
    unsigned tests, failed;
    unsigned *used; /* per row of the table */
};

static void print_failure(const struct oracle_case *run, const char *text)
{
    printf("# %s\n# shortest sequence found, %zu accesses (try: oracle %s --replay FILE):\n", text,
           run->count, run->target->name);
    for (size_t i = 0; i < run->count; i++) {
        printf("#   ");
        oracle_print_op(stdout, run->target, &run->op[i]);
        printf("\n");
    }
}

static void run_case(struct report *r, struct oracle_case *run, const char *name)
{
    char text[ORACLE_TEXT] = "";
    size_t at = 0, all = run->count;
    enum oracle_result result = oracle_run(run, r->used, &at, text);

    r->tests++;
    if (result == ORACLE_SAME) {
        printf("ok %u - %s %s, %zu accesses\n", r->tests, run->target->name, name, all);
        return;
    }
    r->failed++;
    printf("not ok %u - %s %s\n", r->tests, run->target->name, name);
    if (result == ORACLE_BROKEN) {
        printf("# one of the two sides does not work\n");
        return;
    }
    run->count = at + 1;
    printf("# differs at access %zu of %zu: %s\n", run->count, all, text);
    oracle_shrink(run, text);
    if (oracle_run(run, NULL, &at, text) == ORACLE_DIFFERS)
        print_failure(run, text);
}

static void run_file(struct report *r, struct oracle_case *run, const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    FILE *f = fopen(path, "re");
    int bad = f ? oracle_read_ops(f, run->target, run) : 1;

    if (f)
        fclose(f);
    if (!bad) {
        run_case(r, run, name);
        return;
    }
    r->tests++;
    r->failed++;
    printf("not ok %u - %s: line %d cannot be read\n", r->tests, path, bad);
}

static void run_recorded(struct report *r, struct oracle_case *run)
{
    char pattern[PATH_MAX];
    glob_t found;

    snprintf(pattern, sizeof(pattern), "%s/%s-*.txt", ORACLE_RECORDED, run->target->name);
    if (glob(pattern, 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        run_file(r, run, found.gl_pathv[i]);
    globfree(&found);
}

/* A sequence from its seed. */
static void make_case(struct oracle_case *run, uint64_t seed, uint64_t steps)
{
    struct oracle_random random = { .state = seed ^ 0x9e3779b97f4a7c15ULL };
    unsigned taken = 0;

    if (!random.state)
        random.state = 1;
    for (unsigned i = 0; i < 16; i++) /* seeds that are close shall not begin alike */
        oracle_next(&random);
    for (run->count = 0; run->count < steps; run->count++) {
        if (taken == random.queued) {
            taken = random.queued = 0;
            run->target->make(&random);
        }
        run->op[run->count] = random.queue[taken++];
        random.step++;
    }
}

static void run_seed(struct report *r, struct oracle_case *run, uint64_t seed, uint64_t steps)
{
    char name[32];

    make_case(run, seed, steps);
    snprintf(name, sizeof(name), "seed %llu", (unsigned long long)seed);
    run_case(r, run, name);
}

/* Rows of the table that nothing needed are not true any more. */
static void check_rows(struct report *r, const char *target)
{
    unsigned stale = 0;

    for (size_t i = 0; i < oracle_rule_count; i++)
        if ((oracle_rules[i].explains || oracle_rules[i].mask) &&
            !strcmp(oracle_rules[i].target, target) && !r->used[i]) {
            printf("# row never needed: %s, %s\n", oracle_rules[i].reg, oracle_rules[i].condition);
            stale++;
        }
    r->tests++;
    r->failed += stale != 0;
    printf("%sok %u - %s: every row of its table is needed\n", stale ? "not " : "", r->tests,
           target);
}

static bool take_number(const char *text, uint64_t most, uint64_t *ret_value)
{
    char *end;

    *ret_value = strtoull(text, &end, 0);
    return *text && !*end && *ret_value <= most;
}

static bool take_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){ .seed = 1, .count = COUNT, .steps = STEPS };
    for (size_t i = 0; argc > 1 && i < sizeof(targets) / sizeof(*targets); i++)
        if (!strcmp(targets[i]->name, argv[1]))
            o->target = targets[i];
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        bool good = true;

        if (!strcmp(argv[i], "--strict") || !strcmp(argv[i], "--survey")) {
            o->strict |= argv[i][3] == 't';
            o->survey |= argv[i][3] == 'u';
            continue;
        }
        if (!strcmp(argv[i], "--seed"))
            good = take_number(value, UINT64_MAX, &o->seed);
        else if (!strcmp(argv[i], "--count"))
            good = take_number(value, UINT32_MAX, &o->count);
        else if (!strcmp(argv[i], "--steps"))
            good = take_number(value, ORACLE_OPS_MAX, &o->steps);
        else if (!strcmp(argv[i], "--replay") && *value)
            o->replay = value;
        else
            good = false;
        if (!good)
            return false;
        i++;
    }
    return o->target;
}

static bool have_qemu(const struct oracle_qemu *qemu)
{
    char command[80];

    snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", qemu->program);
    return !system(command);
}

static int run_all(const struct options *o, struct report *r)
{
    struct oracle_case run = { .target = o->target, .survey = o->survey };

    run.op = calloc(ORACLE_OPS_MAX, sizeof(*run.op));
    r->used = calloc(oracle_rule_count + 1, sizeof(*r->used));
    if (!run.op || !r->used) {
        free(run.op);
        free(r->used);
        return 1;
    }
    if (o->replay) {
        run_file(r, &run, o->replay);
    } else {
        run_recorded(r, &run);
        for (uint64_t i = 0; i < o->count; i++)
            run_seed(r, &run, o->seed + i, o->steps);
    }
    if (o->strict)
        check_rows(r, o->target->name);
    free(run.op);
    free(r->used);
    printf("1..%u\n# %u of %u failed\n", r->tests, r->failed, r->tests);
    return r->failed != 0;
}

int main(int argc, char **argv)
{
    const struct oracle_qemu *qemu;
    struct report r = { 0 };
    struct options o;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && !strcmp(argv[1], "--table")) {
        oracle_print_rules(stdout);
        return 0;
    }
    if (!take_options(argc, argv, &o)) {
        fprintf(stderr, "usage: oracle TARGET [--seed N] [--count N] [--steps N] [--replay FILE] "
                        "[--strict] [--survey] | --table\ntargets:");
        for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++)
            fprintf(stderr, " %s", targets[i]->name);
        fprintf(stderr, "\n");
        return 2;
    }
    qemu = oracle_qemu_of(o.target);
    if (!have_qemu(qemu)) {
        printf("1..0 # SKIP there is no %s: install the package %s\n", qemu->program,
               qemu->package);
        return EXIT_SKIPPED;
    }
    return run_all(&o, &r);
}
