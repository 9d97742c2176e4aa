/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of guest memory whose file is cut short. What KVM does with it: tests/payload/rom. */
#include "machine_test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "emulated.h"

enum { LEFT = 1 << 20, ABOVE = 2 << 20 };

/* A machine whose memory is a file. */
static void begin(const struct mt_exit *script, unsigned n)
{
    mt_open(true);
    for (unsigned i = 0; i < n; i++)
        t.cpu[0].script[i] = script[i];
    t.config.ram = (struct gm_backing){ .kind = GM_FILE, .shared = true };
    t.config.ram.fd = memfd_create("ram", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(t.config.ram.fd, (off_t)t.config.arch.ram_bytes), 0);
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0, "%s", vm_error_text());
}

static void cut_at(uint64_t bytes)
{
    cr_assert_eq(ftruncate(t.config.ram.fd, (off_t)bytes), 0);
}

static void cut(void)
{
    cut_at(LEFT);
}

static void end(void)
{
    int fd = t.config.ram.fd;

    mt_close();
    close(fd);
}

static volatile uint8_t *ram(void)
{
    return gm_region_host(t.machine->slot[0]);
}

Test(sigbus, a_page_that_is_gone_is_zeros_that_can_be_written)
{
    begin(NULL, 0);
    ram()[ABOVE] = 7;
    cut();

    cr_assert_eq(ram()[ABOVE], 0);

    ram()[ABOVE + 1] = 9;
    cr_assert_eq(ram()[ABOVE + 1], 9);
    end();
}

Test(sigbus, what_the_file_still_has_stays)
{
    begin(NULL, 0);
    ram()[LEFT - 1] = 7;
    cut();

    cr_assert_eq(ram()[LEFT], 0);

    cr_assert_eq(ram()[LEFT - 1], 7);
    end();
}

Test(sigbus, it_is_told_once_and_shown)
{
    struct vmm_machine_info info;

    begin(NULL, 0);
    cut();
    (void)ram()[ABOVE];
    (void)ram()[ABOVE + 4096];
    mt_idle();
    (void)ram()[ABOVE + 8192];
    mt_idle();

    vmm_machine_get_info(t.machine, &info);

    cr_assert_eq(info.brokens, 1);
    cr_assert_eq(info.broken[0].mended, 3);
    cr_assert_eq(info.broken[0].base, gm_region_base(t.machine->slot[0]));
    cr_assert_eq(t.events, 1);
    cr_assert(mt_logged("is broken: its file was cut short"));
    end();
}

Test(sigbus, whoever_takes_page_after_page_away_does_not_use_up_the_mappings)
{
    struct vmm_machine_info info;
    uint64_t bytes;

    begin(NULL, 0);
    bytes = t.config.arch.ram_bytes;
    cut();

    for (uint64_t at = bytes - 4096; at > LEFT + 4096; at -= 4096) /* each by itself */
        cr_assert_eq(ram()[at], 0);

    vmm_machine_get_info(t.machine, &info);
    cr_assert_leq(info.broken[0].mended, bytes / 4096);
    end();
}

Test(sigbus, a_vcpu_that_cannot_reach_a_page_is_entered_again)
{
    static const struct mt_exit script[] = { { MT_FAIL, .value = (uint64_t)-EFAULT },
                                             { MT_PLAIN, .value = HV_EXIT_INTR } };

    begin(script, 2);
    cut();

    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);

    cr_assert_not(vmm_machine_has_ended(t.machine));
    cr_assert_eq(ram()[ABOVE], 0);
    end();
}

/* From now on fixed mappings over guest memory are as on a host with pages of 64 KiB (mmap(2), EINVAL): elsewhere sanitizers make
 * ones of their own. */
static void make_pages_large(void)
{
    const uint64_t at = (uintptr_t)ram() + LEFT + 4096;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_FIXED, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(at >> 32), 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0xffff, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
    };
    const struct sock_fprog program = { VM_ARRAY_SIZE(code), code };

    skip_in_emulator("seccomp");
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

Test(sigbus, a_vcpu_is_entered_again_where_the_end_of_the_file_is_inside_of_a_page)
{
    static const struct mt_exit script[] = { { MT_FAIL, .value = (uint64_t)-EFAULT },
                                             { MT_FAIL, .value = (uint64_t)-EFAULT } };
    struct vmm_machine_info info;

    begin(script, 2);
    ram()[LEFT] = 7;
    cut_at(LEFT + 4096);
    make_pages_large();

    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);

    cr_assert_not(vmm_machine_has_ended(t.machine));
    vmm_machine_get_info(t.machine, &info);
    cr_assert_eq(info.brokens, 1);
    cr_assert_eq(info.broken[0].mended, 1);
    cr_assert_eq(ram()[LEFT], 7);
    cr_assert_eq(ram()[ABOVE], 0);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert(vmm_machine_has_ended(t.machine), "nothing more can be mended");
    end();
}

Test(sigbus, a_vcpu_for_which_nothing_can_be_mended_ends_the_machine)
{
    static const struct mt_exit script[] = { { MT_FAIL, .value = (uint64_t)-EFAULT },
                                             { MT_FAIL, .value = (uint64_t)-EFAULT } };

    begin(script, 2);
    cut();
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert_not(vmm_machine_has_ended(t.machine));

    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);

    cr_assert(vmm_machine_has_ended(t.machine), "it would spin");
    end();
}

/* An emulated instruction finds no page: KVM asks us, as if nobody had memory there. */
Test(sigbus, an_access_that_comes_as_an_exit_reaches_the_memory)
{
    const uint64_t at = TEST_RAM_BASE + ABOVE;
    const struct mt_exit script[] = { { MT_WRITE, at, 4, 0x12345678, NULL },
                                      { MT_READ, at, 4, 0, NULL } };

    begin(script, 2);
    cut();

    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);

    cr_assert_eq(ram()[ABOVE], 0x78);
    cr_assert_eq(ram()[ABOVE + 3], 0x12);
    cr_assert_not(vmm_machine_has_ended(t.machine));
    end();
}

Test(sigbus, a_fault_outside_of_guest_memory_still_kills, .signal = SIGBUS)
{
    int fd = memfd_create("other", MFD_CLOEXEC);
    volatile uint8_t *other = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

    skip_in_emulator("SIGBUS that ends a program at once");
    signal(SIGBUS, SIG_DFL); /* no sanitizer's */
    begin(NULL, 0);

    (void)other[0]; /* the file is empty */
}

Test(sigbus, one_that_was_sent_still_kills, .signal = SIGBUS)
{
    signal(SIGBUS, SIG_DFL);
    begin(NULL, 0);

    raise(SIGBUS);
}
