/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/util.h>
#include <vmm/jail/policy.h>

static struct vmm_jail_policy *policy;

static int parse(const char *text)
{
    return vmm_jail_policy_parse("x.policy", text, strlen(text), &policy);
}

static void tear_down(void)
{
    vmm_jail_policy_free(policy);
}

TestSuite(policy, .fini = tear_down);

Test(policy, rows_have_names_and_comparisons)
{
    const struct vm_jail_rule *row;
    int rc = parse("# all\nread\n\n write : 1 # fine\r\nioctl: arg1 & 0xffffffff == "
                   "0x5421\nprctl:arg0==38&&arg1==01");

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    row = vmm_jail_policy_rows(policy);
    cr_assert_str_eq(row[0].syscall, "read");
    cr_assert_str_eq(row[1].syscall, "write");
    cr_assert_eq(row[1].check[0].mask, 0);
    cr_assert_eq(row[2].check[0].argument, 1);
    cr_assert_eq(row[2].check[0].mask, 0xffffffff);
    cr_assert_eq(row[2].check[0].value, 0x5421);
    cr_assert_eq(row[3].check[1].mask, UINT64_MAX);
    cr_assert_eq(row[3].check[1].value, 1);
    cr_assert_null(row[4].syscall);
    cr_assert_not(vmm_jail_policy_keeps_default(policy));
}

Test(policy, alternatives_become_rows)
{
    int rc = parse("socket: arg0 == 1 || arg0 == 2 && arg1 & 15 == 5");

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert_str_eq(vmm_jail_policy_rows(policy)[1].syscall, "socket");
    cr_assert_eq(vmm_jail_policy_rows(policy)[1].check[0].value, 2);
    cr_assert_eq(vmm_jail_policy_rows(policy)[1].check[1].mask, 15);
}

Test(policy, a_call_can_be_refused_with_an_errno)
{
    int rc = parse("openat: return 13\nopen: arg1 == 0; return 2");

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert_eq(vmm_jail_policy_rows(policy)[0].error, 13);
    cr_assert_eq(vmm_jail_policy_rows(policy)[1].error, 2);
    cr_assert_eq(vmm_jail_policy_rows(policy)[1].check[0].mask, UINT64_MAX);
}

Test(policy, default_alone_keeps_the_built_in_rows)
{
    int rc = parse("@default\n");

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert(vmm_jail_policy_keeps_default(policy));
}

static const struct {
    const char *text, *why;
} mistakes[] = {
    { "", "x.policy: has no row" },
    { "read\nread write", "x.policy, line 2: behind the name only ':' may stand" },
    { "ioctl: arg6 == 1", "arg0 to arg5" },
    { "ioctl: 2", "arg0 to arg5" },
    { "ioctl: arg1 = 1", "'==' is missing" },
    { "ioctl: arg1 == x", "a number is missing" },
    { "ioctl: arg1 == 1x", "not a number" },
    { "ioctl: arg1 == 0x10000000000000000", "not a number of 64 bits" },
    { "ioctl: arg1 == -1", "a number is missing" },
    { "ioctl: arg1 & 0 == 0", "the mask is 0" },
    { "ioctl: arg1 & 1 == 2", "no call can match" },
    { "ioctl: arg1 == 1 && arg2 == 1 && arg3 == 1", "at most two comparisons" },
    { "ioctl: arg1 == 1 arg2", "not understood" },
    { "ioctl: return 0", "an errno from 1 to 4095" },
    { "ioctl: return 5000", "an errno from 1 to 4095" },
    { "ioctl: arg1 == 1; allow", "only 'return ERRNO'" },
    { "@include x", "only 'default'" },
    { ": 1", "the name of a system call is missing" },
};

Test(policy, mistakes_are_named_with_their_line)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(mistakes); i++) {
        cr_assert_eq(parse(mistakes[i].text), -EINVAL, "%s", mistakes[i].text);
        cr_assert(strstr(vm_error_text(), mistakes[i].why), "%s: %s", mistakes[i].text,
                  vm_error_text());
    }
}

Test(policy, bytes_that_are_no_text_are_refused)
{
    int rc = vmm_jail_policy_parse("x.policy", "read\0", 5, &policy);

    cr_assert_eq(rc, -EINVAL);
}

Test(policy, too_many_rows_are_refused)
{
    char *text = calloc(1, 5 * 2000 + 1);

    for (int i = 0; i < 2000; i++)
        strcpy(text + 5 * i, "read\n");

    cr_assert_eq(parse(text), -E2BIG);
    free(text);
}

/* ---- files ---- */

Test(policy, a_file_is_looked_for_below_the_architecture)
{
    char dir[] = "/tmp/vmm-policy-XXXXXX", path[128];
    int fd;

    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/aarch64", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/aarch64/virtio-rng.policy", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(write(fd, "read\n", 5), 5);
    close(fd);

    cr_assert_eq(vmm_jail_policy_open(dir, VMM_JAIL_X86_64, "virtio-rng", &policy), 0);
    cr_assert_null(policy);
    cr_assert_eq(vmm_jail_policy_open(dir, VMM_JAIL_AARCH64, "virtio-rng", &policy), 0);
    cr_assert_str_eq(vmm_jail_policy_rows(policy)->syscall, "read");

    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    rmdir(dir);
}

Test(policy, a_folder_that_is_not_there_is_an_error_and_not_a_folder_without_files)
{
    char dir[] = "/tmp/vmm-policy-XXXXXX";

    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(vmm_jail_policy_open(dir, VMM_JAIL_X86_64, "virtio-rng", &policy), 0);
    rmdir(dir);

    cr_assert_eq(vmm_jail_policy_open(dir, VMM_JAIL_X86_64, "virtio-rng", &policy), -ENOENT);
    cr_assert_not_null(strstr(vm_error_text(), "No such file or directory: check the path"));
}
