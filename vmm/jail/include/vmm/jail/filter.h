/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Filters of system calls (seccomp, Documentation/userspace-api/seccomp_filter.rst). A filter is put together from tables of
 * rows: base + class + back end. What no row allows is refused.
 *
 * Order: vmm_jail_filter_new(), _add() for each table, _compile() to a program for one architecture; vmm_jail_load() in the
 * thread or process that is to be filtered, or the program's bytes are sent there (vmm/jail/profile.h). The filter may be
 * freed once it is compiled.
 *
 * Threads: a filter belongs to one thread at a time; a compiled program is constant. vmm_jail_load() is about its caller.
 * ABI: none promised before 1.0.
 */
#ifndef VMM_JAIL_FILTER_H
#define VMM_JAIL_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/jail_rule.h>

/* What happens to a call that no row allows.
 * KILL: the process dies by SIGSYS at once, and its parent sees no more than that.
 * TRAP: the call is refused and SIGSYS sent: with vmm_jail_report() the process writes which call it was, then dies by SIGSYS.
 * LOG:  the call is carried out and the kernel's log names it: to find out what a filter lacks. No protection. */
enum vmm_jail_action { VMM_JAIL_KILL, VMM_JAIL_TRAP, VMM_JAIL_LOG };

/* "kill", "trap" or "log". 0, or -EINVAL with text. */
int vmm_jail_action_parse(const char *untrusted, enum vmm_jail_action *ret_action);
const char *vmm_jail_action_name(enum vmm_jail_action action);

/* Architectures by the kernel's names for them; native: of this program. */
enum vmm_jail_arch { VMM_JAIL_X86_64, VMM_JAIL_AARCH64 };
enum vmm_jail_arch vmm_jail_arch_native(void);
/* "x86_64", "aarch64". */
const char *vmm_jail_arch_name(enum vmm_jail_arch arch);

struct vmm_jail_filter;

/* Most rows of one filter. */
enum { VMM_JAIL_ROWS_MAX = 1024 };

/* An empty filter: it allows nothing. name is for messages and copied. 0 or -ENOMEM. */
int vmm_jail_filter_new(const char *name, struct vmm_jail_filter **ret_filter);
void vmm_jail_filter_free(struct vmm_jail_filter *filter);

/* Adds the rows of a table (borrowed until the filter is freed; NULL: none), called `table` in messages. The order is that of
 * evaluation: hot rows first. 0; -EINVAL with text that names table and row: a call that libseccomp does not know on any
 * architecture, an argument above 5, a value outside its mask, an errno above 4095; -E2BIG or -ENOMEM. */
int vmm_jail_filter_add(struct vmm_jail_filter *filter, const char *table,
                        const struct vm_jail_rule *rows);

/* Calls line() for each row that means something on arch, in the form of a policy file (vmm/jail/policy.h). */
void vmm_jail_filter_print(const struct vmm_jail_filter *filter, enum vmm_jail_arch arch,
                           void (*line)(void *ctx, const char *text), void *ctx);

/* How many different system calls may be made, with whichever arguments. */
size_t vmm_jail_filter_calls(const struct vmm_jail_filter *filter, enum vmm_jail_arch arch);

/* A program for the kernel: plain data, also to be written to a file or sent. */
struct vmm_jail_program {
    uint32_t count;
    struct sock_filter insn[];
};

/* Where the first row has checks its call is decided first, with one check in 7 instructions; all others by a search over their
 * numbers, so that the kernel does not take long to load it. (Since 5.11 the kernel does not run the program at all for calls that it
 * allows whatever their arguments.) A row with an errno counts after those of the same call that allow. 0; -E2BIG (over the
 * kernel's 4096 instructions) or -ENOMEM, with text. Who calls frees with free(). */
int vmm_jail_filter_compile(const struct vmm_jail_filter *filter, enum vmm_jail_arch arch,
                            enum vmm_jail_action action, struct vmm_jail_program **ret_program);

/* Sets no_new_privs and loads the program for the calling thread, or for all threads of the process. From now on, for good,
 * in all threads and programs it starts. Several add up: a call must pass each of them, and each costs time. 0; -ENOSYS or
 * -EINVAL (no seccomp in this kernel, or one is forbidden), -EBUSY (all_threads: a thread has another filter), -EACCES, with
 * text. */
int vmm_jail_load(const struct vmm_jail_program *program, bool all_threads);

/* In the calling thread a refused call (TRAP) writes one line to standard error from now on: which call, who (at most 47
 * bytes, copied; for instance "virtio-blk disk0"), what to do. Then the process dies by SIGSYS. The handler is the process's,
 * the name the thread's. Before vmm_jail_load(). 0 or -errno with text. */
int vmm_jail_report(const char *who);

/* Says in text (at most size bytes) what a wait status of a jailed process means: "killed by SIGSYS: ...", "exit code 3". */
void vmm_jail_explain_status(int wait_status, char *ret_text, size_t size);

#endif
