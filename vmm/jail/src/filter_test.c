/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Rows, programs and their decisions, evaluated for both architectures on any host. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <vmm/base/error.h>
#include <vmm/base/util.h>
#include <vmm/jail/filter.h>
#include <vmm/jail/rows.h>

#include "bpf_test.h"

static const uint32_t audit[] = {
    [VMM_JAIL_X86_64] = AUDIT_ARCH_X86_64, [VMM_JAIL_AARCH64] = AUDIT_ARCH_AARCH64
};
static struct vmm_jail_filter *filter;

static void set_up(void)
{
    cr_assert_eq(vmm_jail_filter_new("test", &filter), 0);
}

static void tear_down(void)
{
    vmm_jail_filter_free(filter);
}

TestSuite(filter, .init = set_up, .fini = tear_down);

static struct vmm_jail_program *compile_as(enum vmm_jail_arch arch, enum vmm_jail_action action)
{
    struct vmm_jail_program *program;

    cr_assert_eq(vmm_jail_filter_compile(filter, arch, action, &program), 0, "%s", vm_error_text());
    return program;
}

static struct bpf_result decide(const struct vmm_jail_program *p, enum vmm_jail_arch arch,
                                const char *name, const uint64_t args[2])
{
    struct seccomp_data data = { .arch = audit[arch] };

    data.nr = seccomp_syscall_resolve_name_arch(audit[arch], name);
    cr_assert(data.nr >= 0, "%s", name);
    for (int i = 0; args && i < 2; i++)
        data.args[i] = args[i];
    return bpf_run(p, &data);
}

static uint32_t action_of(enum vmm_jail_arch arch, const char *name, uint64_t arg0, uint64_t arg1)
{
    struct vmm_jail_program *p = compile_as((enum vmm_jail_arch)arch, VMM_JAIL_KILL);
    struct bpf_result r = decide(p, arch, name, (uint64_t[]){ arg0, arg1 });

    free(p);
    cr_assert(!r.broken);
    return r.action;
}

static void add(const struct vm_jail_rule *rows)
{
    cr_assert_eq(vmm_jail_filter_add(filter, "table", rows), 0, "%s", vm_error_text());
}

#define ROWS(...) ((const struct vm_jail_rule[]){ __VA_ARGS__, { 0 } })

/* ---- decisions ---- */

Test(filter, an_empty_filter_refuses_everything)
{
    uint32_t action = action_of(VMM_JAIL_X86_64, "read", 0, 0);

    cr_assert_eq(action, SECCOMP_RET_KILL_PROCESS);
}

Test(filter, a_row_without_checks_allows_its_call_only)
{
    add(ROWS(VM_JAIL("read")));

    cr_assert_eq(action_of(VMM_JAIL_X86_64, "read", 1, 2), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "write", 1, 2), SECCOMP_RET_KILL_PROCESS);
}

Test(filter, a_32_bit_check_ignores_the_upper_half)
{
    add(ROWS(VM_JAIL("ioctl", VM_JAIL_IS(1, 0x5421))));

    cr_assert_eq(action_of(VMM_JAIL_AARCH64, "ioctl", 0, 0xffffffff00005421), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_AARCH64, "ioctl", 0, 0x5422), SECCOMP_RET_KILL_PROCESS);
}

Test(filter, a_64_bit_check_looks_at_both_halves)
{
    add(ROWS(VM_JAIL("lseek", VM_JAIL_IS_64(1, 0x100000002))));

    cr_assert_eq(action_of(VMM_JAIL_X86_64, "lseek", 0, 0x100000002), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "lseek", 0, 2), SECCOMP_RET_KILL_PROCESS);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "lseek", 0, 0x100000003), SECCOMP_RET_KILL_PROCESS);
}

Test(filter, both_checks_of_a_row_must_hold)
{
    add(ROWS(VM_JAIL("socket", VM_JAIL_IS(0, 1), VM_JAIL_BITS(1, 0xf, 5))));

    cr_assert_eq(action_of(VMM_JAIL_X86_64, "socket", 1, 0x80005), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "socket", 2, 5), SECCOMP_RET_KILL_PROCESS);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "socket", 1, 4), SECCOMP_RET_KILL_PROCESS);
}

Test(filter, rows_of_one_call_are_alternatives)
{
    add(ROWS(VM_JAIL("socket", VM_JAIL_IS(0, 1), VM_JAIL_BITS(1, 0xf, 5)), VM_JAIL("read"),
             VM_JAIL("socket", VM_JAIL_IS(0, 2))));

    cr_assert_eq(action_of(VMM_JAIL_X86_64, "socket", 1, 5), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "socket", 2, 9), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "socket", 3, 5), SECCOMP_RET_KILL_PROCESS);
}

Test(filter, a_masked_word_does_not_stay_for_the_next_row)
{
    add(ROWS(VM_JAIL("ioctl", VM_JAIL_BITS(1, 0xff00, 0xae00)),
             VM_JAIL("ioctl", VM_JAIL_IS(1, 0x5421))));

    cr_assert_eq(action_of(VMM_JAIL_X86_64, "ioctl", 0, 0x5421), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "ioctl", 0, 0x5400), SECCOMP_RET_KILL_PROCESS);
}

Test(filter, a_row_without_checks_wins_over_those_with)
{
    add(ROWS(VM_JAIL("ioctl", VM_JAIL_IS(1, 1)), VM_JAIL("ioctl")));

    cr_assert_eq(action_of(VMM_JAIL_X86_64, "ioctl", 0, 7), SECCOMP_RET_ALLOW);
}

Test(filter, an_errno_row_refuses_what_no_other_row_allows)
{
    add(ROWS(VM_JAIL_ERRNO("openat", EACCES), VM_JAIL("openat", VM_JAIL_IS(0, 5)),
             VM_JAIL_ERRNO("clone3", ENOSYS)));

    cr_assert_eq(action_of(VMM_JAIL_X86_64, "openat", 5, 0), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "openat", 6, 0), SECCOMP_RET_ERRNO | EACCES);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "clone3", 6, 0), SECCOMP_RET_ERRNO | ENOSYS);
}

Test(filter, other_architectures_and_x32_are_refused)
{
    struct seccomp_data i386 = { .nr = 0, .arch = AUDIT_ARCH_I386 };
    struct seccomp_data x32 = { .nr = 0x40000000, .arch = AUDIT_ARCH_X86_64 };
    struct vmm_jail_program *p;

    add(ROWS(VM_JAIL("read")));
    p = compile_as(VMM_JAIL_X86_64, VMM_JAIL_KILL);

    cr_assert_eq(bpf_run(p, &i386).action, SECCOMP_RET_KILL_PROCESS);
    cr_assert_eq(bpf_run(p, &x32).action, SECCOMP_RET_KILL_PROCESS);
    free(p);
}

Test(filter, the_action_is_what_was_asked_for)
{
    struct vmm_jail_program *trap = compile_as(VMM_JAIL_X86_64, VMM_JAIL_TRAP);
    struct vmm_jail_program *log = compile_as(VMM_JAIL_X86_64, VMM_JAIL_LOG);

    cr_assert_eq(decide(trap, VMM_JAIL_X86_64, "read", NULL).action, SECCOMP_RET_TRAP);
    cr_assert_eq(decide(log, VMM_JAIL_X86_64, "read", NULL).action, SECCOMP_RET_LOG);
    free(trap);
    free(log);
}

Test(filter, over_255_instructions_of_one_call_are_jumped_over)
{
    static struct vm_jail_rule rows[200];

    for (size_t i = 0; i < 198; i++)
        rows[i] = (struct vm_jail_rule)VM_JAIL("ioctl", VM_JAIL_IS(1, i + 1), VM_JAIL_IS(0, i));
    rows[198] = (struct vm_jail_rule)VM_JAIL("read");
    add(rows);

    cr_assert_eq(action_of(VMM_JAIL_X86_64, "read", 0, 0), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "ioctl", 197, 198), SECCOMP_RET_ALLOW);
    cr_assert_eq(action_of(VMM_JAIL_X86_64, "ioctl", 196, 198), SECCOMP_RET_KILL_PROCESS);
}

/* Every combination of a few rows against the rows' own meaning. */
static bool rule_holds(const struct vm_jail_rule *rule, const uint64_t args[2])
{
    for (int i = 0; i < 2; i++)
        if (rule->check[i].mask &&
            (args[rule->check[i].argument] & rule->check[i].mask) != rule->check[i].value)
            return false;
    return true;
}

Test(filter, programs_agree_with_the_rows_they_come_from)
{
    static const struct vm_jail_rule pool[] = {
        VM_JAIL("ioctl", VM_JAIL_IS(1, 1)),
        VM_JAIL("ioctl", VM_JAIL_BITS(1, 6, 4)),
        VM_JAIL("ioctl", VM_JAIL_IS_64(1, 0x100000001)),
        VM_JAIL("ioctl", VM_JAIL_IS(0, 1), VM_JAIL_IS(1, 3)),
        VM_JAIL("ioctl", VM_JAIL_BITS(0, 0x300000000, 0x100000000), VM_JAIL_IS(1, 3)),
        VM_JAIL("read", VM_JAIL_IS(0, 1)),
        VM_JAIL("ioctl", VM_JAIL_IS(1, 2)),
    };
    static const uint64_t values[] = { 0, 1, 2, 3, 4, 5, 0x100000001, 0x100000003, 0x300000001 };

    for (unsigned set = 0; set < 1 << VM_ARRAY_SIZE(pool); set++) {
        struct vm_jail_rule rows[VM_ARRAY_SIZE(pool) + 1] = { 0 };
        struct vmm_jail_program *p;
        size_t n = 0;

        for (size_t i = 0; i < VM_ARRAY_SIZE(pool); i++)
            if (set & 1 << i)
                rows[n++] = pool[i];
        tear_down();
        set_up();
        add(rows);
        p = compile_as(VMM_JAIL_X86_64, VMM_JAIL_KILL);
        for (size_t a = 0; a < VM_ARRAY_SIZE(values) * VM_ARRAY_SIZE(values); a++) {
            uint64_t args[2] = { values[a % VM_ARRAY_SIZE(values)],
                                 values[a / VM_ARRAY_SIZE(values)] };
            bool wanted = false;

            for (size_t i = 0; i < n; i++)
                wanted =
                    wanted || (!strcmp(rows[i].syscall, "ioctl") && rule_holds(&rows[i], args));
            cr_assert_eq(decide(p, VMM_JAIL_X86_64, "ioctl", args).action == SECCOMP_RET_ALLOW,
                         wanted, "set 0x%x, ioctl(0x%lx, 0x%lx)", set, args[0], args[1]);
        }
        free(p);
    }
}

/* ---- what is refused as a row ---- */

Test(filter, an_unknown_call_is_named_with_its_table_and_row)
{
    int rc = vmm_jail_filter_add(filter, "virtio-blk", ROWS(VM_JAIL("read"), VM_JAIL("raed")));

    cr_assert_eq(rc, -EINVAL);
    cr_assert_str_eq(vm_error_text(),
                     "filter of test: virtio-blk, row 2: there is no system call 'raed'");
}

Test(filter, a_check_that_can_never_hold_is_an_error)
{
    int rc = vmm_jail_filter_add(filter, "table", ROWS(VM_JAIL("read", VM_JAIL_BITS(0, 1, 2))));

    cr_assert_eq(rc, -EINVAL);
    cr_assert(strstr(vm_error_text(), "no call can match"), "%s", vm_error_text());
}

Test(filter, a_call_that_the_architecture_lacks_is_left_out)
{
    add(ROWS(VM_JAIL("epoll_wait"), VM_JAIL("epoll_pwait")));

    cr_assert_eq(vmm_jail_filter_calls(filter, VMM_JAIL_X86_64), 2);
    cr_assert_eq(vmm_jail_filter_calls(filter, VMM_JAIL_AARCH64), 1);
    cr_assert_eq(action_of(VMM_JAIL_AARCH64, "epoll_pwait", 0, 0), SECCOMP_RET_ALLOW);
}

Test(filter, too_many_instructions_are_an_error)
{
    static struct vm_jail_rule rows[1001];
    struct vmm_jail_program *p;

    for (size_t i = 0; i < 1000; i++)
        rows[i] =
            (struct vm_jail_rule)VM_JAIL("ioctl", VM_JAIL_IS_64(1, i << 32), VM_JAIL_IS(0, i));
    add(rows);

    cr_assert_eq(vmm_jail_filter_compile(filter, VMM_JAIL_X86_64, VMM_JAIL_KILL, &p), -E2BIG);
}

/* ---- the built-in tables ---- */

static unsigned cost(enum vmm_jail_arch arch, const char *name, uint64_t arg1)
{
    struct vmm_jail_program *p = compile_as((enum vmm_jail_arch)arch, VMM_JAIL_KILL);
    struct bpf_result r = decide(p, arch, name, (uint64_t[]){ 0, arg1 });

    free(p);
    cr_assert_eq(r.action, SECCOMP_RET_ALLOW);
    return r.instructions;
}

Test(filter, kvm_run_is_decided_in_seven_instructions)
{
    add(vmm_jail_rows_vcpu);

    cr_assert_eq(cost(VMM_JAIL_X86_64, "ioctl", KVM_RUN), 7);
    cr_assert_eq(cost(VMM_JAIL_AARCH64, "ioctl", KVM_RUN), 7);
}

/* 15, and one of a sanitizer's runtime. */
Test(filter, a_device_in_its_loop_has_few_calls)
{
    add(vmm_jail_rows_child_loop);

    cr_assert_leq(vmm_jail_filter_calls(filter, VMM_JAIL_X86_64), 16);
    cr_assert_leq(vmm_jail_filter_calls(filter, VMM_JAIL_AARCH64), 16);
}

/* What the rows mean for a call without arguments, as a person would read them. */
static bool rows_allow(const struct vm_jail_rule *rows, enum vmm_jail_arch arch, int number)
{
    for (; rows->syscall; rows++)
        if (!rows->error && !rows->check[0].value && !rows->check[1].value &&
            seccomp_syscall_resolve_name_arch(audit[arch], rows->syscall) == number)
            return true;
    return false;
}

static const struct {
    const char *name;
    const struct vm_jail_rule *rows;
} tables[] = {
    { "child_start", vmm_jail_rows_child_start },
    { "child_loop", vmm_jail_rows_child_loop },
    { "vcpu", vmm_jail_rows_vcpu },
    { "io", vmm_jail_rows_io },
    { "main", vmm_jail_rows_main },
};

Test(filter, each_number_is_decided_as_the_rows_of_its_table_say)
{
    for (size_t t = 0; t < VM_ARRAY_SIZE(tables); t++) {
        add(tables[t].rows);
        for (unsigned arch = 0; arch < VM_ARRAY_SIZE(audit); arch++) {
            struct vmm_jail_program *p = compile_as((enum vmm_jail_arch)arch, VMM_JAIL_KILL);

            for (int number = 0; number < 600; number++) {
                struct seccomp_data data = { .nr = number, .arch = audit[arch] };
                struct bpf_result r = bpf_run(p, &data);

                cr_assert(!r.broken);
                cr_assert_eq(r.action == SECCOMP_RET_ALLOW,
                             rows_allow(tables[t].rows, (enum vmm_jail_arch)arch, number),
                             "%s: %d of %s", tables[t].name, number,
                             vmm_jail_arch_name((enum vmm_jail_arch)arch));
            }
            free(p);
        }
        tear_down();
        set_up();
    }
}

/* The kernel tries all numbers when it loads one, and translates each instruction several times. */
Test(filter, programs_are_short_and_decide_soon)
{
    add(vmm_jail_rows_child_start);
    add(vmm_jail_rows_child_loop);

    for (unsigned arch = 0; arch < VM_ARRAY_SIZE(audit); arch++) {
        struct vmm_jail_program *p = compile_as((enum vmm_jail_arch)arch, VMM_JAIL_KILL);

        cr_assert_leq(p->count, 140, "%u", p->count);
        for (int number = 0; number < 600; number++) {
            struct seccomp_data data = { .nr = number, .arch = audit[arch] };

            cr_assert_leq(bpf_run(p, &data).instructions, 20);
        }
        free(p);
    }
}

/* What nobody may do, in none of the tables. Arguments 0: those that are allowed with some arguments are not with these. */
static const char *const never[] = {
    "execve",        "execveat",
    "fork",          "vfork",
    "clone",         "clone3",
    "ptrace",        "process_vm_readv",
    "mount",         "umount2",
    "pivot_root",    "chroot",
    "unshare",       "setns",
    "setuid",        "setgid",
    "setresuid",     "capset",
    "bpf",           "perf_event_open",
    "keyctl",        "add_key",
    "userfaultfd",   "io_uring_setup",
    "init_module",   "kexec_load",
    "reboot",        "swapon",
    "personality",   "process_vm_writev",
    "pidfd_getfd",   "open_by_handle_at",
    "fsopen",        "move_mount",
    "open_tree",     "memfd_secret",
    "pkey_mprotect", "prctl",
    "ioctl",         "acct",
    "iopl",          "ioperm",
};

Test(filter, no_table_allows_what_a_jail_is_for)
{
    for (size_t t = 0; t < VM_ARRAY_SIZE(tables); t++) {
        for (int arch = 0; arch < 2; arch++) {
            struct vmm_jail_program *p;

            tear_down();
            set_up();
            add(tables[t].rows);
            p = compile_as((enum vmm_jail_arch)arch, VMM_JAIL_KILL);
            for (size_t i = 0; i < VM_ARRAY_SIZE(never); i++) {
                if (seccomp_syscall_resolve_name_arch(audit[arch], never[i]) < 0)
                    continue;
                cr_assert_neq(decide(p, arch, never[i], NULL).action, SECCOMP_RET_ALLOW, "%s: %s",
                              tables[t].name, never[i]);
            }
            free(p);
        }
    }
}

static uint32_t map_action(const char *name, uint64_t prot)
{
    struct vmm_jail_program *p = compile_as(VMM_JAIL_AARCH64, VMM_JAIL_KILL);
    struct seccomp_data data = { .arch = AUDIT_ARCH_AARCH64, .args = { 0, 4096, prot } };
    struct bpf_result r;

    data.nr = seccomp_syscall_resolve_name_arch(AUDIT_ARCH_AARCH64, name);
    r = bpf_run(p, &data);
    free(p);
    return r.action;
}

Test(filter, no_table_allows_executable_memory)
{
    for (size_t t = 0; t < VM_ARRAY_SIZE(tables); t++) {
        tear_down();
        set_up();
        add(tables[t].rows);

        cr_assert_neq(map_action("mmap", PROT_READ | PROT_EXEC), SECCOMP_RET_ALLOW, "%s",
                      tables[t].name);
        cr_assert_neq(map_action("mprotect", PROT_READ | PROT_EXEC), SECCOMP_RET_ALLOW, "%s",
                      tables[t].name);
    }
}

/* ---- text ---- */

static void collect(void *ctx, const char *text)
{
    strncat(strncat(ctx, text, 500), "\n", 2);
}

static const struct vm_jail_rule lseek_row = {
    .syscall = "lseek",
    .check = { VM_JAIL_IS_64(0, 3), VM_JAIL_BITS(2, 4, 0) },
    .error = 22,
};

Test(filter, prints_rows_as_a_policy_file_has_them)
{
    char text[1024] = "";

    add(ROWS(VM_JAIL("read"), VM_JAIL("ioctl", VM_JAIL_IS(1, KVM_RUN)), VM_JAIL_ERRNO("openat", 13),
             lseek_row, VM_JAIL("open")));
    vmm_jail_filter_print(filter, VMM_JAIL_AARCH64, collect, text);

    cr_assert_str_eq(text, "read\n"
                           "ioctl: arg1 & 0xffffffff == 0xae80  # KVM_RUN\n"
                           "openat: return 13\n"
                           "lseek: arg0 == 0x3 && arg2 & 0x4 == 0x0; return 22  # 3  # 4 is 0\n");
}

Test(filter, actions_have_names)
{
    enum vmm_jail_action action = VMM_JAIL_KILL;

    cr_assert_eq(vmm_jail_action_parse("trap", &action), 0);
    cr_assert_eq(action, VMM_JAIL_TRAP);
    cr_assert_eq(vmm_jail_action_parse("no", &action), -EINVAL);
    cr_assert_str_eq(vmm_jail_action_name(VMM_JAIL_LOG), "log");
}
