/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Processes of the program's, seen in /proc (proc(5)). */
#include "processes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../cli/cli.h"

enum { STEPS = 2000 };
static const struct timespec step = { .tv_nsec = 5000000 };

void proc_read(pid_t pid, const char *name, char text[PROC_TEXT])
{
    char path[64];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    f = fopen(path, "re");
    cr_assert_not_null(f, "%s", path);
    n = fread(text, 1, PROC_TEXT - 1, f);
    text[n] = '\0';
    fclose(f);
}

void proc_line(pid_t pid, const char *file, const char *name, char value[128])
{
    char text[PROC_TEXT], *at;

    proc_read(pid, file, text);
    at = strstr(text, name);
    *value = '\0';
    if (!at)
        return;
    at += strlen(name);
    at += strspn(at, ": \t");
    snprintf(value, 128, "%.*s", (int)strcspn(at, "\n"), at);
}

void proc_wait_for_line(pid_t pid, const char *file, const char *name, const char *wanted)
{
    char value[128] = "";

    for (int i = 0; i < STEPS * cli_patience() && strcmp(value, wanted) != 0; i++) {
        if (i)
            nanosleep(&step, NULL);
        proc_line(pid, file, name, value);
    }
    cr_assert_str_eq(value, wanted, "%s of %s is '%s', not '%s'", name, file, value, wanted);
}

/* Whoever started this may have some. */
void proc_wait_for_filters(pid_t pid, int count)
{
    char value[128], filters[24];

    proc_line(getpid(), "status", "Seccomp_filters", value);
    snprintf(filters, sizeof(filters), "%d", atoi(value) + count);
    proc_wait_for_line(pid, "status", "Seccomp_filters", filters);
}

void proc_link(pid_t pid, const char *name, char text[PROC_TEXT])
{
    char path[300];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/%.200s", pid, name);
    n = readlink(path, text, PROC_TEXT - 1);
    text[n < 0 ? 0 : n] = '\0';
}

pid_t proc_child_of(pid_t pid)
{
    char name[48], text[PROC_TEXT];

    snprintf(name, sizeof(name), "task/%d/children", pid);
    proc_read(pid, name, text);
    cr_assert(!strchr(text, ' ') || !strchr(text, ' ')[1], "more than one child: %s", text);
    return atoi(text);
}

/* A socket is listened on before there is who serves it. */
pid_t proc_wait_for_child(pid_t pid)
{
    pid_t child = proc_child_of(pid);

    for (int i = 0; !child && i < STEPS * cli_patience(); i++) {
        nanosleep(&step, NULL);
        child = proc_child_of(pid);
    }
    cr_assert(child, "no process");
    return child;
}
