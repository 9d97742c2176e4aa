/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Running the program as a user would, with kernels of a few instructions: they run in milliseconds, also on a KVM that is software.
 */
#ifndef TESTS_CLI_H
#define TESTS_CLI_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a tiny kernel does: kernel_ARCHITECTURE. */
enum tiny {
    TINY_POWEROFF,
    TINY_RESET,
    TINY_TRIPLE, /* x86_64 alone: an invalid instruction without an IDT */
    TINY_LOOP, /* runs for ever */
    TINY_HELLO, /* prints "hello" on the serial port, powers off */
    TINY_PORTS, /* prints "1" to "4" on the four serial ports, powers off */
    TINY_FLOOD, /* prints 256 KiB, powers off */
    TINY_BUTTON, /* waits for the power button, powers off */
    TINY_JUMP, /* x86_64 alone: goes on where there is no memory */
    TINY_WRITE, /* writes where there is no memory, powers off */
    TINY_WINDOW, /* waits until the first virtio-mmio device, a console, has 80 x 24, prints a byte, waits for 100 x 50, powers off */
};

/* How many times longer than on real hardware everything may take here: VMM_TEST_PATIENCE. */
int cli_patience(void);

/* A directory of the test's own; removed with cli_end(). Changes into it. */
void cli_begin(void);
void cli_end(void);
const char *cli_directory(void);
/* A test that is skipped has no end that removes it. */
#define CLI_SKIP(...)              \
    do {                           \
        cli_end();                 \
        cr_skip_test(__VA_ARGS__); \
    } while (0)

/* Writes such a kernel to a file named path; skips the test where the architecture has none that does this. */
void cli_kernel(const char *path, enum tiny what);
/* x86_64 alone: an ELF file with two segments at these addresses and of these sizes; the file holds 128 bytes of each. */
void cli_kernel_of(const char *path, const uint64_t at[2], const uint64_t bytes[2]);
/* What --irqchip can be wherever the architecture's machines run; NULL at the end. */
extern const char *const cli_irqchips[];

void cli_file(const char *path, const void *data, size_t len);
/* A file of that size, sparse. */
void cli_sparse(const char *path, off_t size);

struct cli_result {
    int code; /* exit status; 128 + signal; 200: it did not end in time */
    char out[65536], err[65536];
    size_t out_len;
};

/* Runs "vmm ARGUMENT..." (NULL at the end) with standard input empty. */
void cli_run(struct cli_result *ret, const char *const arguments[]);
#define CLI(ret, ...) cli_run(ret, (const char *const[]){ __VA_ARGS__, NULL })

/* In the background: its process id. */
pid_t cli_start(const char *const arguments[]);
#define CLI_START(...) cli_start((const char *const[]){ __VA_ARGS__, NULL })
/* Waits for its end: as cli_result.code. */
int cli_wait(pid_t pid);
/* Ends a machine by its control socket, at once, as a user would; whoever does not hear is killed. */
void cli_stop(pid_t pid, const char *socket);
/* Holds a running machine's thread of that name, as if it did not come back from a call to the host; gives its id. */
pid_t cli_hold(pid_t pid, const char *name);
void cli_let_go(pid_t thread);
/* As cli_wait(), for a process one thread of which is held. */
int cli_wait_held(pid_t pid, pid_t thread);
/* Until a file exists, and if it is a socket, somebody listens; 0, or -1 after 10 s. */
int cli_wait_for(const char *path);

/* The path is a socket, and it does not refuse. */
int cli_somebody_listens(const char *path);

/* A machine with one of the kernels above can run: else the test is skipped, for this reason. */
int cli_has_kvm(void);
const char *cli_why_not(void);

#endif
