/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* `vmm run` with the machine guest (tests/payload/guest) as its kernel. */
#ifndef PAYLOAD_MACHINE_H
#define PAYLOAD_MACHINE_H

/* Runs one test of the guest with its options in a directory of its own: two disks, and an entropy device whose source is a FIFO
 * if the options have fifo=on. Answers the guest's lines "@feed N" (N bytes into the FIFO) and "@button" (SIGTERM),
 * and with the arguments -s sock, "@remove ID". The guest must
 * pass; the disks must hold what it wrote and nothing else. arguments: more of vmm's, NULL at the end. */
void machine_test(const char *test, const char *options, const char *const arguments[]);
/* As it is, but the machine must end with this code. */
void machine_test_ends(const char *test, int code, const char *const arguments[]);

#define RUN(test, options, ...) \
    machine_test(test, options, (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

#endif
