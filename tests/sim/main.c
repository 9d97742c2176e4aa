/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * sim --seed N [--count M] [--steps S] [--verbose] [--twice] [--plant
 * lost-kick|lock-inversion|late-completion|late-removal|runs-twice|out-of-log]
 *
 * Runs seeds N to N + M - 1. The first that fails prints one line and ends the program with 1;
 * --seed N alone does the same again. With --plant a known bug is in the echo device, and 0 means
 * that the first seed that fails has found it: by the invariant that it breaks, at the echo device. --twice runs each seed a second time and compares.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/lock.h>

/* A planted bug's name, and the words of the invariant that it breaks: another one's failure is not its discovery. */
static const struct {
    const char *name, *breaks[2], *or_breaks[2];
} plants[] = {
    [SIM_PLANT_NONE] = { .name = "none" },
    [SIM_LOST_KICK] = { .name = "lost-kick",
                        .breaks = { "chains are still out", "a kick was lost" } },
    [SIM_LOCK_INVERSION] = { .name = "lock-inversion",
                             .breaks = { "lock order: device lock", "echo statistics" } },
    [SIM_LATE_COMPLETION] = { .name = "late-completion",
                              .breaks = { "wrote to guest memory", "after its reset" } },
    [SIM_LATE_REMOVAL] = { .name = "late-removal",
                           .breaks = { "wrote to guest memory", "after its removal" } },
    [SIM_RUNS_TWICE] = { .name = "runs-twice", .breaks = { "request ", " ran twice" } },
    [SIM_OUT_OF_LOG] = { .name = "out-of-log",
                         .breaks = { "needs a reset", "its driver is honest" },
                         /* the next process is elsewhere in the ring */
                         .or_breaks = { "request ", " ran twice" } },
};

/* The bugs are in one kind of device. Lines that begin with no device name it elsewhere. */
static bool is_of_echo(const struct sim *s, const char *text)
{
    for (unsigned i = 0; i < s->devs; i++) {
        size_t len = strlen(s->dev[i].id);

        if (!strncmp(text, s->dev[i].id, len) && text[len] == ':')
            return s->dev[i].kind == SIM_ECHO;
    }
    return true;
}

static bool says(const char *text, const char *const words[2])
{
    return words[0] && strstr(text, words[0]) && strstr(text, words[1]);
}

static bool is_planted(const struct sim *s, const char *text)
{
    return is_of_echo(s, text) &&
           (says(text, plants[s->plant].breaks) || says(text, plants[s->plant].or_breaks));
}

noreturn void sim_fail(struct sim *s, const char *format, ...)
{
    bool found = false;
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    printf("sim: seed %llu: %s at step %u\n", (unsigned long long)s->seed, text, s->step);
    if (s->plant) {
        found = is_planted(s, text);
        printf("sim: seed %llu finds %sthe planted bug '%s'\n", (unsigned long long)s->seed,
               found ? "" : "something else than ", plants[s->plant].name);
    }
    fflush(stdout);
    /* What the run holds is of no interest any more, to a leak checker neither. */
    _exit(found ? 0 : 1);
}

void sim_say(const struct sim *s, const char *format, ...)
{
    va_list args;

    if (!s->verbose)
        return;
    printf("%6u %12llu ", s->step,
           s->env.loop ? (unsigned long long)vm_loop_now_ns(s->env.loop) : 0ULL);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z;

    (void)__builtin_add_overflow(*x, 0x9e3779b97f4a7c15ULL, x);
    z = *x;
    (void)__builtin_mul_overflow(z ^ (z >> 30), 0xbf58476d1ce4e5b9ULL, &z);
    (void)__builtin_mul_overflow(z ^ (z >> 27), 0x94d049bb133111ebULL, &z);
    return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

uint64_t sim_next(struct sim *s)
{
    uint64_t *x = s->state, t = x[1] << 17, result;

    (void)__builtin_mul_overflow(x[1], 5ULL, &result);
    (void)__builtin_mul_overflow(rotate(result, 7), 9ULL, &result);
    x[2] ^= x[0];
    x[3] ^= x[1];
    x[1] ^= x[2];
    x[0] ^= x[3];
    x[2] ^= t;
    x[3] = rotate(x[3], 45);
    return result;
}

static void violation(void *ctx, const char *text)
{
    sim_fail(ctx, "%s", text);
}

/* The lowest free number: a leaked fd moves it. */
static int next_fd(void)
{
    int fd = dup(STDIN_FILENO);

    close(fd);
    return fd;
}

static uint64_t run_seed(const struct sim *options)
{
    struct sim *s = calloc(1, sizeof(*s));
    uint64_t seed = options->seed, digest;
    int fd = next_fd();

    if (!s)
        abort();
    s->seed = seed;
    s->steps = options->steps;
    s->verbose = options->verbose;
    s->plant = options->plant;
    for (unsigned i = 0; i < 4; i++)
        s->state[i] = splitmix(&seed);
    vm_lock_on_violation(violation, s);
    sim_open(s);
    sim_run(s);
    sim_close(s);
    if (next_fd() != fd)
        sim_fail(s, "a file descriptor was left open");
    sim_say(s,
            "end: %u requests, %u pauses, %u loads, %u moves, %u lies, %u removals, %u deaths, "
            "%u liars, digest %016llx",
            s->requests, s->pauses, s->loads, s->moves, s->lies, s->removals, s->deaths, s->liars,
            (unsigned long long)s->digest);
    digest = s->digest;
    free(s);
    return digest;
}

static enum sim_plant plant_of(const char *name)
{
    for (unsigned i = 1; i < VM_ARRAY_SIZE(plants); i++)
        if (!strcmp(plants[i].name, name))
            return (enum sim_plant)i;
    return SIM_PLANT_NONE;
}

static noreturn void usage(void)
{
    fputs("usage: sim --seed N [--count M] [--steps S] [--verbose] [--twice] [--plant "
          "lost-kick|lock-inversion|late-completion|late-removal|runs-twice|out-of-log]\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    struct sim options = { .seed = 1, .steps = 150 };
    unsigned long count = 1;
    bool twice = false;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (!strcmp(argv[i], "--verbose"))
            options.verbose = true;
        else if (!strcmp(argv[i], "--twice"))
            twice = true;
        else if (!value)
            usage();
        else if (!strcmp(argv[i], "--seed"))
            options.seed = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--count"))
            count = strtoul(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--steps"))
            options.steps = (unsigned)strtoul(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--plant") && plant_of(value))
            options.plant = plant_of(argv[++i]);
        else
            usage();
    }
    for (unsigned long i = 0; i < count; i++, options.seed++) {
        uint64_t digest = run_seed(&options);

        if (twice && run_seed(&options) != digest)
            sim_fail(&options, "a second run went another way");
    }
    if (options.plant) {
        printf("sim: %lu seeds did not find the planted bug '%s'\n", count,
               plants[options.plant].name);
        return 1;
    }
    printf("sim: %lu seeds passed\n", count);
    return 0;
}
