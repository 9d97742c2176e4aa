/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The commands that only tell: plan, abi, doctor, version, help, completion, man, print-config. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;

TestSuite(report, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

Test(report,
     console_with_further_ports_alone_is_a_device_and_leaves_the_terminal_to_the_serial_port)
{
    cli_file("k", "", 0);
    CLI(&r, "plan", "--console", "ports=[[name=a,mode=null]]", "k");

    cr_expect(strstr(r.out, "virtio-console0"), "%s%s", r.out, r.err);
}

Test(report, version_is_one_line)
{
    CLI(&r, "version");

    cr_expect_eq(r.code, 0);
    cr_expect(!strncmp(r.out, "vmm ", 4) && strchr(r.out, '\n') == r.out + strlen(r.out) - 1, "%s",
              r.out);
}

Test(report, help_names_every_command_and_each_has_its_own)
{
    static const char *const commands[] = { "run",  "plan",     "abi",    "doctor",
                                            "stop", "powerbtn", "pause",  "resume",
                                            "info", "set",      "remove", "announce" };

    CLI(&r, "--help");
    cr_expect_eq(r.code, 0);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        cr_expect(strstr(r.out, commands[i]), "%s", commands[i]);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        CLI(&r, commands[i], "--help");
        cr_expect_eq(r.code, 0, "%s: %s", commands[i], r.err);
        cr_expect(strstr(r.out, "Usage: vmm"), "%s", r.out);
    }
}

Test(report, help_of_a_command_has_two_spellings)
{
    static char first[sizeof(r.out)];

    CLI(&r, "run", "--help");
    memcpy(first, r.out, sizeof(first));
    CLI(&r, "help", "run");
    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect_str_eq(r.out, first);

    CLI(&r, "help", "runn");
    cr_expect_eq(r.code, 2);
    cr_expect(strstr(r.err, "did you mean 'run'?"), "%s", r.err);
}

Test(report, device_help_lists_classes_and_their_keys)
{
    CLI(&r, "run", "--device", "help");
    cr_expect(strstr(r.out, "virtio-rng"), "%s", r.out);
    CLI(&r, "run", "--device", "virtio-rng,help");
    cr_expect(strstr(r.out, "pci_segment"), "%s", r.out);
    CLI(&r, "run", "--disk", "help");
    cr_expect(strstr(r.out, "readonly"), "%s", r.out);
}

Test(report, the_entropy_device_can_be_switched_off)
{
    CLI(&r, "plan", "kernel");
    cr_expect(strstr(r.out, "virtio-rng0"), "%s", r.out);
    CLI(&r, "plan", "--rng", "off", "kernel");
    cr_expect(!strstr(r.out, "virtio-rng0"), "%s", r.out);
    CLI(&r, "plan", "--rng", "src=/dev/urandom,id=dice", "kernel");
    cr_expect(strstr(r.out, "dice"), "%s%s", r.out, r.err);
    CLI(&r, "run", "--rng", "help");
    cr_expect(r.code == 0 && strstr(r.out, "max_bytes"), "%s", r.out);
}

Test(report, plan_needs_no_files_and_touches_none)
{
    CLI(&r, "plan", "--serial", "file=log", "--disk", "path=disk.img", "kernel");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "virtio-blk0"), "%s", r.out);
    cr_expect(strstr(r.out, "0000:00:01.0"), "%s", r.out);
    cr_expect(access("log", F_OK) && access("disk.img", F_OK));
}

Test(report, plan_as_json)
{
    CLI(&r, "plan", "--json", "kernel");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "\"pci\""), "%s", r.out);
}

Test(report, a_plan_with_a_device_elsewhere_talks_to_nobody)
{
    CLI(&r, "plan", "--vhost-user", "block,socket=nobody", "k");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "RAM: a sealed memfd"), "%s", r.out);
    cr_expect(strstr(r.out, "sandbox not ours: another program"), "%s", r.out);
}

Test(report, plan_tells_who_serves_a_device_and_what_it_may_call)
{
    CLI(&r, "plan", "--disk", "path=d,placement=thread", "k");
    cr_expect(strstr(r.out, "virtio-blk0      virtio-blk       0000:00:01.0       sandbox none: a "
                            "thread of the VMM"),
              "%s", r.out);
    cr_expect(strstr(r.out, "virtio-rng0      virtio-rng       0000:00:02.0       sandbox a jailed "
                            "process, "),
              "%s", r.out);
    CLI(&r, "plan", "--json", "k");
    cr_expect(strstr(r.out, "\"filter\": [") && strstr(r.out, "getrandom"), "%s", r.out);
}

Test(report, plan_tells_where_memory_comes_from)
{
    CLI(&r, "plan", "-m", "64", "--sandbox", "thread", "k");
    cr_expect(strstr(r.out, "RAM: private, transparent huge pages\n"), "%s", r.out);
    CLI(&r, "plan", "-m", "64", "k");
    cr_expect(strstr(r.out, "RAM: a file on a private tmpfs with huge pages, shared with"), "%s",
              r.out);
    CLI(&r, "plan", "--memory", "hugepages=on,hugepage_size=2M,prefault=on,host_numa_node=0", "k");
    cr_expect(strstr(r.out, "RAM: huge pages of 2097152 bytes, host node 0, touched before"), "%s",
              r.out);
    CLI(&r, "plan", "--json", "--memory", "hugepages=on,thp=off", "k");
    cr_expect(strstr(r.out, "\"backing\": \"huge pages of the host's default size\""), "%s", r.out);
}

Test(report, doctor_says_what_it_saw_as_text_and_json)
{
    CLI(&r, "doctor");
    cr_expect(r.code == 0 || r.code == 3, "%d", r.code);
    cr_expect(strstr(r.out, "/dev/kvm"), "%s", r.out);
    cr_expect(strstr(r.out, "This host can"), "%s", r.out);
    CLI(&r, "doctor", "--json");
    cr_expect(strstr(r.out, "\"healthy\""), "%s", r.out);
    cr_expect(strstr(r.out, "\"io_uring\""), "%s", r.out);
}

Test(report, the_root_disk_is_the_first_and_read_only)
{
    const char *root, *other;

    CLI(&r, "plan", "-d", "other", "-r", "root", "-p", "quiet", "kernel");
    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "quiet root=/dev/vda ro"), "%s", r.out);

    CLI(&r, "run", "-d", "other", "-r", "root", "--print-config", "kernel");
    root = strstr(r.out, "\"path\": \"root\"");
    other = strstr(r.out, "\"path\": \"other\"");
    cr_assert(root && other, "%s", r.out);
    cr_expect(root < other);
    cr_expect(strstr(root, "\"readonly\": true") < other);
}

Test(report, version_as_json)
{
    CLI(&r, "version", "--json");

    cr_expect_eq(strncmp(r.out, "{\"version\":\"", 12), 0, "%s", r.out);
}

Test(report, completion_and_manual_page)
{
    static const char *const shells[] = { "bash", "zsh", "fish" };

    for (size_t i = 0; i < 3; i++) {
        CLI(&r, "completion", shells[i]);
        cr_expect_eq(r.code, 0);
        cr_expect(strstr(r.out, "powerbtn"), "%s", shells[i]);
    }
    CLI(&r, "completion", "tcsh");
    cr_expect_eq(r.code, 2);
    CLI(&r, "man");
    cr_expect(strstr(r.out, ".TH"), "%.80s", r.out);
}

Test(report, print_config_is_what_config_reads)
{
    static char first[sizeof(r.out)];

    CLI(&r, "run", "-m", "512", "-c", "3", "-p", "quiet", "-p", "x=1", "--disk",
        "path=d.img,readonly=on", "--device", "virtio-rng,id=second", "--print-config", "kernel");
    cr_assert_eq(r.code, 0, "%s", r.err);
    memcpy(first, r.out, sizeof(first));
    cli_file("vm.json", first, strlen(first));
    CLI(&r, "run", "--config", "vm.json", "--print-config");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect_str_eq(r.out, first);
    cr_expect(strstr(first, "\"second\"") && strstr(first, "d.img"), "%s", first);
}

Test(report, cloud_hypervisors_json_is_understood)
{
    static const char json[] =
        "{\"cpus\":{\"boot_vcpus\":2,\"max_vcpus\":2},\"memory\":{\"size\":1073741824},"
        "\"payload\":{\"kernel\":\"vmlinux\",\"cmdline\":\"console=hvc0\",\"initramfs\":\"i\"},"
        "\"disks\":[{\"path\":\"a.img\",\"readonly\":true}],\"rng\":{\"src\":\"/dev/urandom\"},"
        "\"serial\":{\"mode\":\"Null\"},\"console\":{\"mode\":\"Tty\"}}";

    cli_file("vm.json", json, sizeof(json) - 1);
    CLI(&r, "plan", "--config", "vm.json");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "virtio-console0"), "%s", r.out);
    cr_expect(strstr(r.out, "console=hvc0"), "%s", r.out);
}
