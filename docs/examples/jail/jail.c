/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library jail alone: a filter of four rows, printed, loaded in a child process that then does what it may not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/jail/filter.h>

static const struct vm_jail_rule rows[] = {
    VM_JAIL("write"),
    VM_JAIL("exit_group"),
    VM_JAIL("socket", VM_JAIL_IS(0, 1 /* AF_UNIX */)),
    VM_JAIL_ERRNO("openat", 13 /* EACCES */),
    { 0 },
};

static void print(void *ctx, const char *text)
{
    (void)ctx;
    puts(text);
}

static int make(struct vmm_jail_program **ret_program)
{
    struct vmm_jail_filter *filter;
    int rc = vmm_jail_filter_new("example", &filter);

    if (rc)
        return rc;
    rc = vmm_jail_filter_add(filter, "rows", rows);
    if (!rc) {
        vmm_jail_filter_print(filter, vmm_jail_arch_native(), print, NULL);
        rc = vmm_jail_filter_compile(filter, vmm_jail_arch_native(), VMM_JAIL_TRAP, ret_program);
    }
    vmm_jail_filter_free(filter);
    return rc;
}

static int child(const struct vmm_jail_program *program)
{
    if (vmm_jail_report("example") || vmm_jail_load(program, false))
        return 1;
    syscall(SYS_socket, 2 /* AF_INET */, 1, 0);
    return 0;
}

int main(void)
{
    struct vmm_jail_program *program;
    char text[200];
    int status = 0;
    pid_t pid;

    if (make(&program)) {
        fprintf(stderr, "jail: %s\n", vm_error_text());
        return 1;
    }
    fflush(stdout);
    pid = fork();
    if (!pid)
        _exit(child(program));
    free(program);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    vmm_jail_explain_status(status, text, sizeof(text));
    printf("the child: %s\n", text);
    return 0;
}
