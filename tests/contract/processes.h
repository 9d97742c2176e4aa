/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Processes of the program's, seen in /proc. What is not there fails the test. */
#ifndef TESTS_PROCESSES_H
#define TESTS_PROCESSES_H

#include <sys/types.h>

enum { PROC_TEXT = 4096 };

/* A file of /proc/PID, as far as it fits. */
void proc_read(pid_t pid, const char *name, char ret_text[PROC_TEXT]);
/* The rest of the line that begins with name, without the blanks before it; empty: there is none. */
void proc_line(pid_t pid, const char *file, const char *name, char ret_value[128]);
/* Until it is as wanted: a thread filters itself, and a process narrows its filter after it has said that its device is there. */
void proc_wait_for_line(pid_t pid, const char *file, const char *name, const char *wanted);
/* As many filters more than this process has. */
void proc_wait_for_filters(pid_t pid, int count);
/* What a link of /proc/PID says; empty: it cannot be read. */
void proc_link(pid_t pid, const char *name, char ret_text[PROC_TEXT]);
/* The only child; 0: none (yet). */
pid_t proc_child_of(pid_t pid);
pid_t proc_wait_for_child(pid_t pid);

#endif
