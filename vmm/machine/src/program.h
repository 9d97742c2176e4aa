/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Another program that serves a vhost-user device of this machine, started by it (program= of the class vhost-user, docs/vhost-user.md).
 * What it is told of its socket is a number in its arguments:
 *
 *     {fd}      a connected socket (passt --fd {fd}, vmm device --fd {fd})
 *     {listen}  a socket that listens, to which the machine has connected (virtiofsd --fd={listen}; addr.type=fd,addr.str={listen})
 */
#ifndef VMM_MACHINE_PROGRAM_H
#define VMM_MACHINE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include <vmm/base/env.h>
#include <vmm/devices-core/device.h>
#include <vmm/machine/machine.h>

enum { VMM_PROGRAM_FD = 3, VMM_PROGRAM_WORDS_MAX = 128 };

struct program;

struct program_words {
    bool listens;
    size_t count;
    char *word[VMM_PROGRAM_WORDS_MAX + 1]; /* ends with NULL: argv */
    char text[];
};
/* Splits at blanks, but for those in quotes (' or "), which are taken away, and puts the number in. *ret_words is freed by free(). -EINVAL,
 * -ENOMEM with text. */
int vmm_program_words(const char *text, struct program_words **ret_words);

/* The program's file, to be run by descriptor; a name without a slash is looked for in PATH. The fd, or -errno with text: -ENOENT,
 * -EACCES, -ENOEXEC (a script) ... */
int vmm_program_open(const char *name);

/* Opens the program's file; it is started when the device wants a connection. 0 or -errno with text. */
int vmm_program_new(struct vmm_machine *m, const char *text, const char *id,
                    struct program **ret_program);
/* The environment for its device: VM_OPEN_CONNECT, whatever the name is, connects to the program. Borrowed. */
const struct vm_env *vmm_program_env(struct program *p);
/* The device could not be made; the error's text gets what is known of the program's end. code, for convenience. */
int vmm_program_explain(struct program *p, int code);
/* From now on the control loop has a thread of its own. */
void vmm_program_live(struct program *p);
/* Its device is freed: it is asked to end (SIGTERM). In the thread of the I/O loop, or when there is none. */
void vmm_program_detach(struct program *p);
/* The control loop's thread; it ends within patience_ms, or by SIGKILL. NULL is allowed. */
void vmm_program_free(struct program *p, int patience_ms);

#endif
