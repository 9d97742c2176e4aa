/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Mistakes of users: one clear line each (what, which value, why, how to mend it), the documented exit code, nothing lost. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;

TestSuite(mistakes, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

enum { USAGE = 2, HOST = 3, RESOURCE = 4 };

/* One line on standard error, with all the words; the exit code; nothing on standard output. */
static void expect(int code, const char *a, const char *b)
{
    const char *end = strchr(r.err, '\n');

    cr_expect_eq(r.code, code, "exit %d, not %d: %s", r.code, code, r.err);
    cr_expect(end && !end[1], "not one line: '%s'", r.err);
    cr_expect(strstr(r.err, a), "no '%s' in: %s", a, r.err);
    cr_expect(strstr(r.err, b), "no '%s' in: %s", b, r.err);
    cr_expect_str_eq(r.out, "");
}

/* Runs "vmm run ARGUMENT..." in a child that prepare() has changed; what it says goes to r.err. */
#define CHANGED(prepare, ...) \
    run_changed(prepare, (const char *const[]){ "vmm", "run", __VA_ARGS__, NULL })
static void run_changed(int (*prepare)(void), const char *const argv[])
{
    int fd = open("err", O_RDWR | O_CREAT | O_TRUNC, 0666);
    pid_t pid = fork();

    cr_assert(fd >= 0 && pid >= 0);
    if (!pid) {
        dup2(fd, 2);
        if (prepare && prepare())
            _exit(99);
        execv(getenv("VMM_PROGRAM"), (char *const *)argv);
        _exit(98);
    }
    r.code = cli_wait(pid);
    r.err[pread(fd, r.err, sizeof(r.err) - 1, 0)] = 0;
    close(fd);
}

Test(mistakes, no_kernel)
{
    CLI(&r, "run");
    expect(USAGE, "no kernel", "vmm run KERNEL");
}

Test(mistakes, a_kernel_that_does_not_exist)
{
    CLI(&r, "run", "nothing");
    expect(USAGE, "nothing", "No such file");
}

Test(mistakes, a_directory_as_kernel)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    CLI(&r, "run", ".");
    expect(USAGE, ".", "directory");
}

Test(mistakes, an_empty_kernel)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_file("k", "", 0);
    CLI(&r, "run", "k");
    expect(USAGE, "k is empty", "");
}

Test(mistakes, two_devices_on_one_terminal)
{
    CLI(&r, "run", "--serial", "tty", "--device", "virtio-console,mode=tty", "k");
    expect(USAGE, "--serial tty and --device virtio-console,mode=tty", "only one");
    CLI(&r, "run", "--console", "tty", "--device", "virtio-console,mode=tty", "k");
    expect(USAGE, "--console tty and --device virtio-console,mode=tty", "only one");
}

Test(mistakes, serial_ports_that_share_a_place)
{
    CLI(&r, "plan", "--serial", "tty", "--serial", "num=3,tty", "k");
    expect(USAGE, "--serial tty and --serial2 tty", "only one");
    CLI(&r, "plan", "--serial1", "file=f", "--serial", "num=4,file=f", "k");
    expect(USAGE, "--serial1 and --serial3: both go to f", "another path");
    CLI(&r, "plan", "--serial3", "off,file=f", "k");
    expect(USAGE, "--serial3: file=f", "leave one of them out");
}

Test(mistakes, words_of_crosvms_serial_that_mean_something_else)
{
    static const struct {
        const char *option, *cure;
    } rows[] = {
        { "type=stdout,num=1", "tty writes to standard output" },
        { "type=unix,path=s", "socket=PATH listens by itself" },
        { "type=syslog", "file=PATH" },
        { "tty,stdin=true", "leave it out" },
        { "tty,console", "--cmdline" },
        { "tty,earlycon=true", "--cmdline" },
        { "file=f,input=g", "socket=PATH" },
        { "hardware=virtio-console,file=f,name=a", "ports=[[name=NAME" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLI(&r, "plan", "--serial", rows[i].option, "k");
        expect(USAGE, "--serial: ", rows[i].cure);
    }
}

Test(mistakes, further_places_that_cannot_be)
{
    CLI(&r, "plan", "--serial", "tty,also=[mode=tty]", "k");
    expect(USAGE, "--serial: also[0]: mode=tty is there already", "only one of them");
    CLI(&r, "plan", "--serial", "file=f,also=[[mode=pty],[socket=f]]", "k");
    expect(USAGE, "--serial: also[1]: f is there already", "give one of them another path");
    CLI(&r, "plan", "--console", "off,also=[file=f]", "k");
    expect(USAGE, "--console: also=", "or leave it out");
    CLI(&r, "plan", "--serial", "tty,also=[file=f]", "--console", "socket=s,also=[file=f]", "k");
    expect(USAGE, "--serial and --console: both go to f", "another path");
    CLI(&r, "plan", "--serial", "file=f,also=[mode=tty]", "--console", "tty", "k");
    expect(USAGE, "--serial tty and --console tty", "only one");
    CLI(&r, "plan", "--device", "virtio-console,file=f,also=[mode=pty],placement=process", "k");
    expect(USAGE, "placement=process cannot be", "escape key");
    CLI(&r, "plan", "--serial", "file=f,also=[file=./f]", "k");
    expect(USAGE, "--serial: also[0]: ./f is there already", "another path");
    CLI(&r, "plan", "--console", "off,ports=[[name=a,file=f]]", "k");
    expect(USAGE, "--console: ports=[...], but it is off", "leave that out");
    CLI(&r, "plan", "--serial", "tty,also=file=f", "k");
    expect(USAGE, "--serial: also: write [KEY=VALUE,...]", "[[...],[...]]");
}

Test(mistakes, a_serial_port_that_there_cannot_be)
{
    CLI(&r, "plan", "--serial", "num=5,tty", "k");
    expect(USAGE, "--serial: num=5", "num=1 to num=4");
    CLI(&r, "plan", "--serial", "hardware=virtio-console,num=2,tty", "k");
    expect(USAGE, "hardware=virtio-console with num=2", "leave one of them out");
}

Test(mistakes, two_kernels_or_two_roots)
{
    CLI(&r, "run", "--kernel", "a", "b");
    expect(USAGE, "two kernels", "a and b");
    CLI(&r, "run", "-r", "a", "--root", "b", "k");
    expect(USAGE, "two root disks", "a and b");
}

Test(mistakes, a_network_device_by_three_options_of_which_one_is_missing_or_wrong)
{
    CLI(&r, "plan", "--host-ip", "10.0.0.1", "--netmask", "255.0.0.0", "k");
    expect(USAGE, "one network device together", "--mac is missing");
    CLI(&r, "plan", "--mac", "52:54:00:12:34:56", "k");
    expect(USAGE, "one network device together", "--host-ip is missing");
    CLI(&r, "plan", "--host-ip", "10.0.0.1", "--mac", "52:54:00:12:34:56", "k");
    expect(USAGE, "one network device together", "--netmask is missing");
    CLI(&r, "plan", "--host-ip", "10.0.0.1,mtu=9000", "k");
    expect(USAGE, "--host-ip 10.0.0.1,mtu=9000", "no IPv4 address");
    CLI(&r, "plan", "--netmask", "24", "k");
    expect(USAGE, "--netmask 24", "no IPv4 address");
    CLI(&r, "plan", "--mac", "53:54:00:12:34:56", "k");
    expect(USAGE, "--mac=53:54:00:12:34:56", "group");
    CLI(&r, "plan", "--mac", "52:54:00:12:34:56", "--mac", "52:54:00:12:34:57", "k");
    expect(USAGE, "two of --mac", "--net");
}

Test(mistakes, a_fifo_without_the_other_side)
{
    cr_assert(!mkfifo("f", 0600));

    CLI(&r, "run", "--config", "f", "k");
    expect(USAGE, "--config f", "writer");
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    CLI(&r, "run", "--serial", "file=f", "k");
    expect(USAGE, "file f", "reader");
}

Test(mistakes, options_of_a_pci_bus_that_is_off)
{
    CLI(&r, "run", "--pci", "off", "--pci-cam", "on", "k");
    expect(USAGE, "--pci off", "--pci-cam on");
    CLI(&r, "run", "--pci", "off", "--platform", "num_pci_segments=2", "k");
    expect(USAGE, "--pci off", "num_pci_segments=2");
}

Test(mistakes, more_memory_touched_before_the_start_than_there_is)
{
    CLI(&r, "run", "--memory", "size=1000000G,prefault=on", "k");
    expect(RESOURCE, "prefault=on", "MemAvailable");
}

Test(mistakes, an_initramfs_larger_than_memory)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    cli_sparse("i", 300 << 20);
    CLI(&r, "run", "-i", "i", "k");
    expect(USAGE, "i: 314572800 bytes of initrd do not fit", "more memory");
}

Test(mistakes, a_command_line_that_is_too_long)
{
    static char text[4000];

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    memset(text, 'a', sizeof(text) - 1);
    CLI(&r, "run", "--cmdline", text, "k");
    expect(USAGE, "3999 bytes", " 2047");
}

Test(mistakes, memory_that_is_too_small_or_no_whole_pages)
{
    cli_kernel("k", TINY_POWEROFF);
    CLI(&r, "run", "-m", "1", "k");
    expect(USAGE, "size", "1M");
    CLI(&r, "run", "--memory", "size=33554433", "k");
    expect(USAGE, "33554433", "page size");
    CLI(&r, "run", "-m", "lots", "k");
    expect(USAGE, "lots", "");
}

Test(mistakes, huge_pages_that_do_not_fit)
{
    CLI(&r, "plan", "--memory", "hugepage_size=2M", "k");
    expect(USAGE, "hugepage_size=2097152", "hugepages=on");
    CLI(&r, "plan", "--memory", "hugepages=on,hugepage_size=3M", "k");
    expect(USAGE, "hugepage_size=3145728", "power of two");
    CLI(&r, "plan", "--memory", "size=1030M,hugepages=on,hugepage_size=1G", "k");
    expect(USAGE, "size=1080033280", "hugepage_size=1073741824");
    CLI(&r, "plan", "--memory", "thp=maybe", "k");
    expect(USAGE, "thp=maybe", "on or off");
    CLI(&r, "plan", "--memory", "host_numa_node=first", "k");
    expect(USAGE, "host_numa_node=first", "number");
}

Test(mistakes, huge_pages_or_a_node_that_the_host_has_not)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    CLI(&r, "run", "--memory", "size=256G,hugepages=on", "k");
    expect(RESOURCE, "huge pages", "vm.nr_hugepages");
    CLI(&r, "run", "--memory", "hugepages=on,hugepage_size=16M", "k");
    expect(HOST, "0x1000000", "/sys/kernel/mm/hugepages");
    CLI(&r, "run", "--memory", "host_numa_node=1000", "k");
    expect(USAGE, "host NUMA node 1000", "/sys/devices/system/node/online");
}

Test(mistakes, more_cpus_than_kvm_allows)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    CLI(&r, "run", "-c", "4096", "k");
    expect(USAGE, "4096 vCPUs", "at most");
    CLI(&r, "run", "-c", "0", "k");
    expect(USAGE, "boot", "1");
}

Test(mistakes, unknown_commands_options_and_keys_name_the_nearest)
{
    CLI(&r, "rum");
    expect(USAGE, "'rum'", "did you mean 'run'");
    CLI(&r, "run", "--memroy", "1", "k");
    expect(USAGE, "memroy", "memory");
    CLI(&r, "run", "--memory", "sise=1G", "k");
    expect(USAGE, "sise", "size");
    CLI(&r, "run", "--device", "virtio-rngg", "k");
    expect(USAGE, "virtio-rngg", "virtio-rng");
    CLI(&r, "run", "--irqchip", "splot", "k");
    expect(USAGE, "splot", "split");
}

Test(mistakes, two_devices_with_one_id_or_address)
{
    cli_kernel("k", TINY_POWEROFF);
    CLI(&r, "plan", "--no-rng", "--device", "virtio-rng,id=a", "--device", "virtio-rng,id=a", "k");
    expect(USAGE, "id=a", "twice");
    CLI(&r, "plan", "--no-rng", "--device", "virtio-rng,addr=5", "--device", "virtio-rng,addr=5",
        "k");
    expect(USAGE, "5", "taken");
    CLI(&r, "plan", "--no-rng", "--device", "virtio-rng,addr=zz", "k");
    expect(USAGE, "zz", "");
    CLI(&r, "plan", "--device", "virtio-rng,pci_segment=3", "k");
    expect(USAGE, "pci_segment=3", "num_pci_segments");
    CLI(&r, "plan", "--pci", "off", "--device", "virtio-rng,bus=pci", "k");
    expect(USAGE, "bus=pci", "PCI is off");
    CLI(&r, "plan", "--device", "virtio-rng,id=a/b", "k");
    expect(USAGE, "a/b", "letters");
}

Test(mistakes, two_consoles_on_one_terminal)
{
    CLI(&r, "plan", "--serial", "tty", "--console", "tty", "k");
    expect(USAGE, "--serial tty", "only one");
}

Test(mistakes, json_that_is_broken)
{
    static char deep[10000];
    static const struct {
        const char *text, *say;
    } files[] = {
        { "{\"cpus\":{\"boot\":1,\"boot\":2}}", "boot" },
        { "{\"cpus\":{\"boots\":1}}", "boots" },
        { "{\"memory\":{\"size\":\"\xff\"}}", "vm.json" },
        { "{\"memory\":", "vm.json" },
        { "[]", "vm.json" },
        { "", "vm.json" },
    };

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        cli_file("vm.json", files[i].text, strlen(files[i].text));
        CLI(&r, "run", "--config", "vm.json");
        expect(USAGE, files[i].say, "");
    }
    memset(deep, '[', sizeof(deep));
    cli_file("vm.json", deep, sizeof(deep));
    CLI(&r, "run", "--config", "vm.json");
    expect(USAGE, "vm.json", "32");
    CLI(&r, "run", "--config", "no.json");
    expect(USAGE, "no.json", "No such file");
}

Test(mistakes, disks_that_cannot_be)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    CLI(&r, "run", "-d", "none.img", "k");
    expect(USAGE, "none.img", "no such file");
    CLI(&r, "run", "-d", ".", "k");
    expect(USAGE, ".", "directory");
    cr_assert(!mkfifo("fifo", 0600));
    CLI(&r, "run", "-d", "fifo", "k");
    expect(USAGE, "fifo", "");
    cli_sparse("odd.img", 1000);
    CLI(&r, "run", "-d", "odd.img", "k");
    expect(USAGE, "odd.img", "512");
    cli_sparse("empty.img", 0);
    CLI(&r, "run", "-d", "empty.img", "k");
    expect(USAGE, "empty.img: is empty", "truncate");
}

static int only_readable(void)
{
    return unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
           mount(".", ".", NULL, MS_BIND, NULL) ||
           mount(".", ".", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) || chdir("/") ||
           chdir(cli_directory());
}

Test(mistakes, a_disk_that_cannot_be_written)
{
    if (!cli_has_kvm() || geteuid())
        CLI_SKIP("needs root and /dev/kvm");
    cli_kernel("k", TINY_POWEROFF);
    cli_sparse("d.img", 1 << 20);

    CHANGED(only_readable, "-d", "d.img", "k");
    if (r.code == 99)
        CLI_SKIP("no mount namespaces here");

    expect(USAGE, "d.img: cannot be opened for writing", "readonly=on");
}

Test(mistakes, a_disk_that_another_machine_has)
{
    pid_t pid;

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    cli_sparse("d.img", 1 << 20);
    pid = CLI_START("run", "-d", "d.img", "-s", "sock", "k");
    cr_assert(!cli_wait_for("sock"));

    CLI(&r, "run", "-d", "d.img", "k");

    cr_expect(strstr(r.err, "d.img"), "%s", r.err);
    cr_expect(strstr(r.err, "another"), "%s", r.err);
    cr_expect_neq(r.code, 0);
    CLI(&r, "stop", "sock");
    cr_expect_eq(cli_wait(pid), 13);
}

Test(mistakes, socket_paths)
{
    char path[200];

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    CLI(&r, "run", "-s", path, "k");
    expect(USAGE, "107", "");
    CLI(&r, "run", "-s", "no/such/sock", "k");
    expect(USAGE, "no/such/sock", "No such file");
    CLI(&r, "info", "no-socket");
    expect(USAGE, "no-socket", "does it still run");
}

Test(mistakes, a_file_in_the_place_of_a_socket_is_kept)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    cli_file("disk.img", "data", 4);

    CLI(&r, "run", "-s", "disk.img", "k");

    expect(USAGE, "disk.img: there is a file that is not a socket", "another name");
    cr_expect(!access("disk.img", F_OK));
}

Test(mistakes, a_serial_port_has_no_place_to_choose)
{
    CLI(&r, "plan", "--serial", "pty,bus=pci", "k");
    expect(USAGE, "--serial", "leave them out");
    CLI(&r, "plan", "--serial", "pty,id=x", "k");
    expect(USAGE, "--serial", "leave them out");
    CLI(&r, "plan", "--serial1", "pty,id=x", "k");
    expect(USAGE, "--serial1: id", "always serial1");
}

Test(mistakes, an_address_as_lspci_has_it_is_told_what_is_wanted)
{
    CLI(&r, "plan", "--disk", "path=d,addr=0000:00:05.0", "k");
    expect(USAGE, "'0000:00:05.0' is no PCI address", "DD or DD.F");
}

Test(mistakes, a_descriptor_that_is_not_open)
{
    static const char why[] = "this program was started without an open descriptor of that number";

    cli_kernel("k", TINY_POWEROFF);

    CLI(&r, "run", "--net", "fd=77", "k");
    expect(USAGE, "virtio-net: fd=77", why);
    CLI(&r, "run", "--net", "fd=77", "--sandbox", "thread", "k");
    expect(USAGE, "virtio-net: fd=77", "77<>FILE");
    CLI(&r, "run", "--net", "num_queues=4,fd=[0,78]", "k");
    expect(USAGE, "virtio-net: fd=78", why);
    CLI(&r, "run", "--net", "fd=77,vhost=on", "k");
    expect(USAGE, "virtio-net: fd=77", why);
    CLI(&r, "run", "--tap-fd", "77", "k");
    expect(USAGE, "virtio-net: fd=77", why);
    CLI(&r, "run", "--rng", "fd=77", "k");
    expect(USAGE, "virtio-rng: fd=77", why);
    CLI(&r, "run", "--device", "vhost-user,type=net,fd=77", "k");
    expect(USAGE, "vhost-user: fd=77", why);
    CLI(&r, "device", "virtio-rng", "--fd", "77");
    expect(USAGE, "--fd 77 is not open here", "");
    CLI(&r, "device", "virtio-rng,fd=77", "--socket", "s");
    expect(USAGE, "virtio-rng: fd=77", why);
    CLI(&r, "device", "virtio-net,fd=77", "--socket", "s");
    expect(USAGE, "virtio-net: fd=77", why);
}

Test(mistakes, a_directory_is_no_socket_to_talk_to)
{
    CLI(&r, "info", ".");
    expect(USAGE, "is a directory", "vmm-PID.sock");
}

Test(mistakes, a_fifo_as_kernel)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cr_assert(!mkfifo("k", 0600));
    CLI(&r, "run", "k");
    expect(USAGE, "k is not a regular file", "");
}

Test(mistakes, a_stale_socket_is_replaced)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "sock" };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cr_assert(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
    close(fd);
    cli_kernel("k", TINY_POWEROFF);

    CLI(&r, "run", "-s", "sock", "k");

    cr_expect_eq(r.code, 0, "%s", r.err);
}

/* A program built to count lines complains when it may not write its counters: that is not its own word. */
static void without_profiling(void)
{
    char *to = r.err;

    for (char *line = r.err, *end; (end = strchr(line, '\n')); line = end + 1)
        if (strncmp(line, "profiling:", strlen("profiling:"))) {
            memmove(to, line, (size_t)(end + 1 - line));
            to += end + 1 - line;
        }
    *to = 0;
}

static int few_files(void)
{
    struct rlimit few = { 16, 16 };

    return setrlimit(RLIMIT_NOFILE, &few);
}

Test(mistakes, too_few_file_descriptors)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);

    CHANGED(few_files, "-c", "16", "k");

    expect(RESOURCE, "open files: the limit is 16", "give more by ulimit -n");
}

static int two_files(void)
{
    struct rlimit two = { 2, 2 };

    return setrlimit(RLIMIT_NOFILE, &two);
}

static int three_files(void)
{
    struct rlimit three = { 3, 3 };

    return setrlimit(RLIMIT_NOFILE, &three);
}

Test(mistakes, every_command_tells_the_limit_of_file_descriptors)
{
    enum { LOADER_FAILED = 127 };

    if (getenv("VMM_USER_EMULATOR"))
        CLI_SKIP("the emulator needs descriptors of its own");
    run_changed(three_files, (const char *const[]){ "vmm", "info", "sock", NULL });
    if (r.code == LOADER_FAILED)
        CLI_SKIP("the program is not static: its loader needs descriptors");
    expect(RESOURCE, "socket sock: Too many open files", "the limit is 3 (RLIMIT_NOFILE)");
    run_changed(three_files, (const char *const[]){ "vmm", "run", "k", NULL });
    expect(RESOURCE, "kernel k: Too many open files", "the limit is 3 (RLIMIT_NOFILE)");
    run_changed(two_files, (const char *const[]){ "vmm", "plan", "k", NULL });
    expect(RESOURCE, "fds 0 to 2", "ulimit -n");
}

Test(mistakes, standard_output_that_is_full)
{
    int full = open("/dev/full", O_WRONLY), old = dup(1);

    cr_assert(full >= 0 && old >= 0);
    (void)fflush(stdout);
    dup2(full, 1);
    run_changed(NULL, (const char *const[]){ "vmm", "version", NULL });
    dup2(old, 1);
    close(full);
    close(old);

    expect(USAGE, "standard output: ", "No space left");
}

static int no_locked_memory(void)
{
    struct rlimit none = { 0, 0 };

    return setrlimit(RLIMIT_MEMLOCK, &none);
}

Test(mistakes, no_locked_memory_is_needed)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);

    CHANGED(no_locked_memory, "-c", "2", "k");

    cr_expect_eq(r.code, 0, "%d: %s", r.code, r.err);
}

static int little_memory(void)
{
    struct rlimit little = { 64 << 20, 64 << 20 };

    return setrlimit(RLIMIT_AS, &little);
}

Test(mistakes, more_memory_than_the_host_gives)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    if (getenv("ASAN_OPTIONS"))
        CLI_SKIP("the address sanitizer needs more than the limit");

    CHANGED(little_memory, "k");

    expect(RESOURCE, "guest memory of 256 MiB", "--memory");
}

static int little_files(void)
{
    const struct rlimit little = { 1 << 20, 1 << 20 };

    return setrlimit(RLIMIT_FSIZE, &little);
}

Test(mistakes, memory_in_a_file_that_is_larger_than_files_may_be)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);

    CHANGED(little_files, "k");
    expect(RESOURCE, "guest memory of 256 MiB", "ulimit -f");
    CHANGED(little_files, "--sandbox", "thread", "k");

    cr_expect_eq(r.code, 0, "%s", r.err);
}

/* The limit of processes is the user's: root has none. One more than allowed could not even exec. */
static int one_process(void)
{
    const struct rlimit one = { 1, 1 };

    return setrlimit(RLIMIT_NPROC, &one) || setgid(65534) || setuid(65534);
}

Test(mistakes, no_process_may_be_started)
{
    if (!cli_has_kvm() || geteuid())
        CLI_SKIP("needs root and /dev/kvm");
    if (getenv("ASAN_OPTIONS"))
        CLI_SKIP("the leak sanitizer needs a process of its own");
    cli_kernel("k", TINY_POWEROFF);
    cr_assert(!chmod(".", 0755));

    CHANGED(one_process, "k");
    if (r.code == 98)
        CLI_SKIP("the program's folder is not readable for others, or that user has processes");
    without_profiling();

    expect(RESOURCE, "spawner: fork", "ulimit -u");
}

/* In a mount namespace of the child's own. */
static int hide_kvm(void)
{
    return unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
           mount("none", "/dev", "tmpfs", 0, NULL);
}

static int other_device(void)
{
    return unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
           mount("/dev/null", "/dev/kvm", NULL, MS_BIND, NULL);
}

Test(mistakes, no_kvm)
{
    if (!cli_has_kvm() || geteuid())
        CLI_SKIP("needs root and /dev/kvm");
    cli_kernel("k", TINY_POWEROFF);

    CHANGED(hide_kvm, "k");
    if (r.code == 99)
        CLI_SKIP("no mount namespaces here");
    expect(HOST, "/dev/kvm does not exist", "kvm_intel or kvm_amd");
    CHANGED(other_device, "k");
    expect(HOST, "/dev/kvm: ", "not a KVM device");
}

static int be_nobody(void)
{
    return setgid(65534) || setuid(65534);
}

Test(mistakes, an_unprivileged_user_without_access_to_kvm)
{
    if (!cli_has_kvm() || geteuid())
        CLI_SKIP("needs root and /dev/kvm");
    cr_assert(!chmod(".", 0755));
    cli_kernel("k", TINY_POWEROFF);

    CHANGED(be_nobody, "k");
    if (r.code == 98)
        CLI_SKIP("the program's folder is not readable for others");
    without_profiling();

    expect(HOST, "/dev/kvm: no permission", "group kvm");
}
