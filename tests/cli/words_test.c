/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Words that are no mistake each, but mean nothing: empty ones, and those that contradict others. No KVM is needed. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;

TestSuite(words, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

enum { USAGE = 2, WORDS_MAX = 8 };

struct row {
    const char *argv[WORDS_MAX];
    const char *a, *b; /* what the one line has */
};

/* Each is refused with one line, and nothing is printed. */
static void refused(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *end;

        cli_run(&r, rows[i].argv);
        end = strchr(r.err, '\n');
        cr_expect_eq(r.code, USAGE, "%zu: exit %d: %s", i, r.code, r.err);
        cr_expect(end && !end[1], "%zu: not one line: '%s'", i, r.err);
        cr_expect(strstr(r.err, rows[i].a), "no '%s' in: %s", rows[i].a, r.err);
        cr_expect(strstr(r.err, rows[i].b), "no '%s' in: %s", rows[i].b, r.err);
        cr_expect_str_eq(r.out, "");
    }
}

#define REFUSED(...)                             \
    refused((const struct row[]){ __VA_ARGS__ }, \
            sizeof((const struct row[]){ __VA_ARGS__ }) / sizeof(struct row))

Test(words, an_empty_value_is_not_the_default)
{
    static const char *const options[] = {
        "-m",        "-c",       "-i",       "-d",          "-r",           "-s",
        "--memory",  "--cpus",   "--acpi",   "--platform",  "--machine",    "--pci",
        "--rtc",     "--kernel", "--disk",   "--rwdisk",    "--rodisk",     "--serial",
        "--rng",     "--device", "--socket", "--log-level", "--console",    "--irqchip",
        "--config",  "--pit",    "--root",   "--dump-acpi", "--dump-dtb",   "--vhost-user",
        "--initrd",  "--mem",    "--rodisk", "--pci-cam",   "--api-socket", "--host-ip",
        "--netmask", "--mac"
    };
    char text[64];

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        snprintf(text, sizeof(text), "%s '' is empty: give %s ", options[i], options[i]);
        refused(&(struct row){ { "plan", options[i], "", "k", NULL }, text, "or leave it out" }, 1);
    }
}

Test(words, an_empty_operand_is_none)
{
    REFUSED({ { "plan", "", NULL }, "KERNEL is empty", "bzImage" },
            { { "info", "", NULL }, "SOCKET is empty", "control socket" },
            { { "remove", "s", "", NULL }, "ID is empty", "vmm info" },
            { { "set", "s", "rng0", "", NULL }, "KEY=VALUE is empty", "change" },
            { { "device", "", NULL }, "NAME is empty", "virtio device" },
            { { "device", "virtio-rng", "--socket", "", NULL }, "--socket '' is empty", "PATH" },
            { { "completion", "", NULL }, "SHELL is empty", "bash" },
            { { "abi", "diff", "", "k", NULL }, "FILE is missing", "earlier report" });
}

Test(words, an_empty_kernel_command_line_is_one)
{
    CLI(&r, "plan", "--cmdline", "", "-p", "", "-p", "a", "-p", "", "k");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "Command line\n  a\n"), "%s", r.out);
}

static void refused_json(const char *json, const char *a, const char *b)
{
    cli_file("vm.json", json, strlen(json));
    refused(&(struct row){ { "plan", "--config", "vm.json", "k", NULL }, a, b }, 1);
}

Test(words, an_empty_value_in_json_is_not_the_default)
{
    refused_json("{\"memory\":{\"size\":\"\"}}", "memory: size=:", "from 2M to 4096T");
    refused_json("{\"cpus\":{\"boot\":\"\"}}", "cpus: boot=:", "a number");
    refused_json("{\"payload\":{\"initramfs\":\"\"}}", "payload: initramfs=:", "a path");
    refused_json("{\"disks\":[{\"path\":\"\"}]}", "disks[0]: path=:", "a path");
    refused_json("{\"serial\":{\"mode\":\"\"}}", "serial: mode=:", "one of");
    refused_json("{\"serial\":\"\"}", "serial: an object", "not a string");
    refused_json("{\"api_socket\":\"\"}", "api_socket=:", "a path");
    refused_json("{\"acpi\":\"\"}", "acpi=:", "on or off");
}

Test(words, what_is_off_has_no_keys)
{
    REFUSED(
        { { "plan", "--rng", "src=/dev/random", "--no-rng", "k", NULL }, "--rng: src=", "off" },
        { { "plan", "--no-rng", "--rng", "src=/dev/random", "k", NULL }, "--rng: src=", "off" },
        { { "plan", "--rng", "off", "--rng", "max_bytes=4", "k", NULL }, "max_bytes=4", "off" },
        { { "plan", "--serial", "off,file=X", "k", NULL }, "--serial: file=X", "mode=off" },
        { { "plan", "--serial", "null,socket=X", "k", NULL }, "--serial: socket=X", "mode=null" },
        { { "plan", "--console", "off,cols=80", "k", NULL }, "--console: cols=80", "tty, pty" },
        { { "plan", "--console", "cols=80", "k", NULL }, "--console: cols=80", "tty, pty" });
    refused_json("{\"rng_device\":false,\"rng\":{\"src\":\"/dev/random\"}}", "--rng: src=", "off");
}

Test(words, the_same_said_twice_is_no_contradiction)
{
    CLI(&r, "plan", "--rng", "off", "--no-rng", "--serial", "off", "--serial", "off", "k");
    cr_expect_eq(r.code, 0, "%s", r.err);

    CLI(&r, "plan", "--no-rng", "--rng", "on", "--rng", "src=/dev/random", "k");
    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "virtio-rng0"), "%s", r.out);
}

Test(words, a_configuration_that_was_printed_has_no_contradiction)
{
    CLI(&r, "run", "--no-rng", "--serial", "off", "--print-config", "k");
    cr_assert_eq(r.code, 0, "%s", r.err);
    cli_file("vm.json", r.out, strlen(r.out));

    CLI(&r, "plan", "--config", "vm.json");

    cr_expect_eq(r.code, 0, "%s", r.err);
}

Test(words, bytes_go_to_one_place)
{
    REFUSED(
        { { "plan", "--serial", "file=a,socket=b", "k", NULL }, "file=a and socket=b", "one" },
        { { "plan", "--console", "file=a,socket=b", "k", NULL }, "file=a and socket=b", "one" },
        { { "plan", "--serial", "tty,append=on", "k", NULL }, "append=on", "file=PATH" },
        { { "plan", "--serial", "file", "k", NULL }, "--serial: mode=file", "file=PATH" },
        { { "plan", "--serial", "file=x", "--console", "file=x", "k", NULL },
          "--serial and --console",
          "go to x" },
        { { "plan", "-s", "x", "--serial", "socket=x", "k", NULL },
          "--socket and --serial",
          "go to x" },
        { { "plan", "--console", "file=x", "--device", "virtio-console,id=c,file=x", "k", NULL },
          "c and --console",
          "go to x" });
}

Test(words, options_that_stand_for_a_key_cannot_be_given_another)
{
    REFUSED({ { "plan", "--rwdisk", "path=d,readonly=on", "k", NULL }, "--rwdisk", "readonly=off" },
            { { "plan", "--rodisk", "path=d,readonly=off", "k", NULL }, "--rodisk", "readonly=on" },
            { { "plan", "--dump-acpi", "a", "--dump-acpi", "b", "k", NULL }, "twice", "a and b" },
            { { "plan", "--dump-dtb", "a", "--dump-dtb", "b", "k", NULL }, "twice", "a and b" },
            { { "abi", "diff", "a", "--diff", "b", "k", NULL }, "twice", "a and b" },
            { { "plan", "--device", "virtio-rng,", "k", NULL }, "--device", "last comma" });
}

#if defined(__x86_64__)
Test(words, without_acpi_a_guest_must_find_its_devices)
{
    REFUSED(
        { { "plan", "--acpi", "off", "k", NULL }, "--acpi off", "--pci-cam on" },
        { { "plan", "--acpi", "off", "--pci-cam", "on", "--platform", "num_pci_segments=2", NULL },
          "--acpi off",
          "num_pci_segments=2" });

    CLI(&r, "plan", "--acpi", "off", "--pci-cam", "on", "k");
    cr_expect_eq(r.code, 0, "%s", r.err);
    CLI(&r, "plan", "--acpi", "off", "--pci", "off", "k");
    cr_expect_eq(r.code, 0, "%s", r.err);
}

Test(words, reports_of_tables_that_there_are_not)
{
    REFUSED({ { "plan", "--device-tree-overlay", "o", "k", NULL }, "overlay o", "leave it out" },
            { { "plan", "--dump-dtb", "t", "k", NULL }, "--dump-dtb t", "leave it out" },
            { { "plan", "--acpi", "off", "--pci", "off", "--dump-acpi", ".", NULL },
              "--dump-acpi .",
              "leave it out" });
}
#endif

Test(words, a_control_character_in_the_kernels_command_line_is_told_its_place)
{
    REFUSED({ { "plan", "-p", "a\nb", "k", NULL }, "--params: byte 2", "0x0a" },
            { { "plan", "-p", "fine", "-p", "tab\there", "k", NULL }, "--params: byte 4", "0x09" },
            { { "plan", "--cmdline", "quiet \x7f", "k", NULL }, "--cmdline: byte 7", "0x7f" });
    refused_json("{\"payload\":{\"cmdline\":\"\\u0001\"}}", "--cmdline: byte 1", "0x01");

    CLI(&r, "plan", "--cmdline", "name=\xc3\xa4", "k");
    cr_expect_eq(r.code, 0, "%s", r.err);
}

Test(words, zero_bytes_in_json_are_told_in_words_of_ours)
{
    refused_json("{\"memory\":{\"size\":\"a\\u0000b\"}}", "vm.json:1:28: ", "zero byte (\\u0000)");
    cr_expect(!strstr(r.err, "JSON_"), "%s", r.err);
    refused_json("{\"a\\u0000b\":1}", "vm.json:1:11: ", "leave it out");
}

Test(words, only_a_near_name_is_meant)
{
    REFUSED({ { "plan", "--foo", "k", NULL }, "unknown option '--foo'", "--help" });
    cr_expect(!strstr(r.err, "did you mean"), "%s", r.err);
    REFUSED({ { "plan", "--rot", "k", NULL }, "unknown option '--rot'", "did you mean '--root'" },
            { { "rum", NULL }, "no command 'rum', did you mean 'run'? vmm", "--help" });
}

Test(words, a_path_that_cannot_be_opened_is_told_with_the_cure)
{
    cr_assert(!mkfifo("fifo", 0600));
    REFUSED({ { "run", "none", NULL }, "kernel none: No such file", "check the path" },
            { { "run", ".", NULL }, "kernel: . is a directory", "give a file" },
            { { "run", "fifo", NULL }, "kernel: fifo is not a regular file", "copy" },
            { { "run", "fifo/k", NULL }, "kernel fifo/k: Not a directory", "check the path" },
            { { "run", "--config", "none", NULL }, "--config none: No such file", "check" },
            { { "run", "--config", ".", NULL }, "--config .: Is a directory", "name a file" },
            { { "plan", "--dump-acpi", "none", "k", NULL }, "--dump-acpi none", "that exists" });
}

Test(words, memory_has_an_upper_bound_as_well)
{
    REFUSED({ { "plan", "-m", "17592186044416", "k", NULL }, "17592186044416M", "2M to 4096T" },
            { { "plan", "-m", "99999999999999999999", "k", NULL }, "-m: size=", "2M to 4096T" },
            { { "plan", "-m", "4294967296", "k", NULL }, "4294967296 MiB", "give less" });
}

/* ---- verbs ---- */

Test(words, a_folder_of_filters_that_is_not_there_is_told)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    REFUSED({ { "run", "--seccomp-policy-dir", "none", "k", NULL },
              "policy folder none: No such file",
              "check the path" });
}

Test(words, two_disks_that_write_to_one_image_are_seen_without_it)
{
    REFUSED({ { "plan", "--disk", "x", "--disk", "x", "k", NULL }, "two disks are x", "a copy" },
            { { "plan", "-r", "x", "--device", "virtio-blk,path=x", "k", NULL },
              "two disks are x",
              "readonly=on" });
    CLI(&r, "plan", "-r", "x", "--disk", "path=x,readonly=on", "k");
    cr_expect_eq(r.code, 0, "%s", r.err);
    CLI(&r, "plan", "--disk", "path=x", "--disk", "path=x,lock=off", "k");
    cr_expect_eq(r.code, 0, "%s", r.err);
}

static void dead_socket(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(addr.sun_path, path);
    cr_assert(fd >= 0 && !bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
    close(fd);
}

Test(words, every_verb_says_the_same_of_what_is_no_control_socket)
{
    static const char *const verbs[][3] = { { "stop" },        { "powerbtn" },
                                            { "pause" },       { "resume" },
                                            { "info" },        { "set", "a", "b=c" },
                                            { "remove", "a" }, { "cancel", "1" },
                                            { "events" },      { "announce" } };
    static const char *const places[][3] = {
        { "file", "file is not a socket", "vmm run --socket" },
        { "fifo", "fifo is not a socket", "vmm run --socket" },
        { "none", "no machine listens on none", "does it still run" },
        { "file/x", "no machine listens on file/x", "does it still run" },
        { "dead", "no machine listens on dead", "does it still run" },
        { ".", ". is a directory", "vmm-PID.sock" },
    };

    cli_file("file", "x", 1);
    cr_assert(!mkfifo("fifo", 0600));
    dead_socket("dead");
    for (size_t v = 0; v < sizeof(verbs) / sizeof(verbs[0]); v++)
        for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++)
            refused(&(struct row){ { verbs[v][0], places[p][0], verbs[v][1], verbs[v][2], NULL },
                                   places[p][1],
                                   places[p][2] },
                    1);
}
