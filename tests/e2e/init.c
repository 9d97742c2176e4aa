/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The first process of the emulated host and of the test guests: as little as a Debian kernel needs to get to
 * a shell, because every instruction is emulated twice. Linux Documentation/filesystems/ramfs-rootfs-initramfs.rst.
 *
 * 1. mounts /dev, /proc, /sys; loads the modules of /lib/modules.list in that order
 * 2. root=/dev/X on the command line: mounts it (ext4) and goes on with its /init
 * 3. runs /run.sh, or an interactive shell where there is none, on the console
 * 4. prints "@exit N" after /run.sh and ends as bed.end= says: poweroff (default), reboot, halt; or exit, which
 *    prints nothing and writes 16 + N to the emulated host's isa-debug-exit port (where there are ports)
 * The power button powers off at any time. Needs nothing but the kernel: statically linked. */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if __has_include(<sys/io.h>)
#include <sys/io.h>
#define HAS_PORTS 1
#endif
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define DEBUG_EXIT_PORT 0xf4
#define ROOT_WAIT_MS    10000
#define INPUT_DEVICES   8

static void complain(const char *what, const char *which)
{
    fprintf(stderr, "init: %s %s: %s\n", what, which, strerror(errno));
}

/* The value of NAME= on the kernel's command line, or NULL; lives until the next call. */
static const char *boot_option(const char *name)
{
    static char line[4096];
    size_t length = strlen(name);
    FILE *f = fopen("/proc/cmdline", "re");

    if (!f)
        return NULL;
    if (!fgets(line, sizeof(line), f))
        line[0] = 0;
    fclose(f);
    for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
        if (!strncmp(word, name, length) && word[length] == '=')
            return word + length + 1;
    return NULL;
}

static void mount_at(const char *type, const char *where)
{
    mkdir(where, 0755);
    if (mount(type, where, type, 0, NULL))
        complain("mount", where);
}

static void mount_all(void)
{
    mount_at("devtmpfs", "/dev");
    mount_at("proc", "/proc");
    mount_at("sysfs", "/sys");
    mount_at("devpts", "/dev/pts");
    mount_at("tmpfs", "/dev/shm");
    mount_at("tmpfs", "/tmp");
    mount_at("tmpfs", "/run");
}

static void load_modules(void)
{
    char path[256] = "/lib/modules/";
    size_t head = strlen(path);
    FILE *list = fopen("/lib/modules.list", "re");

    while (list && fgets(path + head, (int)(sizeof(path) - head), list)) {
        path[strcspn(path, "\n")] = 0;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
            complain("module", path);
        if (fd >= 0)
            close(fd);
    }
    if (list)
        fclose(list);
}

/* Name of the terminal behind /dev/console: the last one in the list of active consoles. */
static void console_name(char name[static 64])
{
    char line[256] = "";
    FILE *f = fopen("/sys/class/tty/console/active", "re");

    snprintf(name, 64, "/dev/console");
    if (!f)
        return;
    if (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = 0;
        char *last = strrchr(line, ' ');
        snprintf(name, 64, "/dev/%.50s", last ? last + 1 : line);
    }
    fclose(f);
}

/* A module may have brought the console: open it only now. */
static void open_console(void)
{
    char name[64];
    int fd;

    console_name(name);
    fd = open(name, O_RDWR | O_NOCTTY);
    if (fd < 0)
        fd = open("/dev/console", O_RDWR | O_NOCTTY);
    if (fd < 0)
        return;
    for (int i = 0; i < 3; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
}

static void enter_root(const char *disk)
{
    static const char *const kept[] = { "/dev", "/proc", "/sys", "/tmp", "/run" };
    const struct timespec pause = { .tv_nsec = 5000000 };
    char device[64], target[80];

    snprintf(device, sizeof(device), "%s", disk);
    for (int ms = 0; access(device, F_OK) && ms < ROOT_WAIT_MS; ms += 5)
        nanosleep(&pause, NULL);
    mkdir("/root", 0755);
    if (mount(device, "/root", "ext4", 0, NULL)) {
        complain("root", device);
        return;
    }
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        snprintf(target, sizeof(target), "/root%s", kept[i]);
        mkdir(target, 0755);
        mount(kept[i], target, NULL, MS_MOVE, NULL);
    }
    if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
        complain("switch to", device);
    execl("/init", "init", "on-disk", (char *)NULL);
    complain("exec /init on", device);
}

/* Whether bed.end= says HOW. */
static int ends_by(const char *how)
{
    const char *end = boot_option("bed.end");

    return !strcmp(end ? end : "poweroff", how);
}

static void exit_port(int status)
{
#ifdef HAS_PORTS
    if (!iopl(3))
        outb((unsigned char)(16 | (status > 15 ? 15 : status)), DEBUG_EXIT_PORT);
#else
    (void)status;
#endif
}

static void end_machine(int status)
{
    sync();
    mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL); /* leaves a clean disk behind */
    tcdrain(1);
    if (ends_by("exit"))
        exit_port(status);
    if (ends_by("reboot"))
        reboot(RB_AUTOBOOT);
    if (ends_by("halt"))
        reboot((int)RB_HALT_SYSTEM);
    reboot(RB_POWER_OFF);
}

/* Waits for KEY_POWER on any input device, then powers off. Without input devices it ends at once. */
static void watch_power_button(void)
{
    struct pollfd fds[INPUT_DEVICES];
    nfds_t count = 0;
    char name[32];

    for (int i = 0; i < INPUT_DEVICES; i++) {
        snprintf(name, sizeof(name), "/dev/input/event%d", i);
        int fd = open(name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            fds[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
    }
    while (count && poll(fds, count, -1) > 0) {
        for (nfds_t i = 0; i < count; i++) {
            struct input_event e;
            if (!(fds[i].revents & POLLIN) || read(fds[i].fd, &e, sizeof(e)) != sizeof(e))
                continue;
            if (e.type != EV_KEY || e.code != KEY_POWER || e.value != 1)
                continue;
            printf("\n@power-button\n");
            fflush(stdout);
            end_machine(0);
        }
    }
}

/* Waits for CHILD; what else was left to the first process is only collected. */
static int wait_for(pid_t child)
{
    int status = 0;

    for (;;) {
        pid_t pid = wait(&status);
        if (pid == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (pid < 0 && errno != EINTR)
            return 127;
    }
}

/* The end of a session hangs up its terminal, and what was written to it last is lost: so the shell is not the leader, who waits until
 * that has gone. */
static void run_shell(int batch)
{
    char tty[64];
    int fd, status;
    pid_t shell;

    setsid();
    console_name(tty);
    fd = open(tty, O_RDWR);
    if (fd >= 0) {
        ioctl(fd, TIOCSCTTY, 0);
        close(fd);
    }
    setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
    setenv("HOME", "/", 1);
    setenv("TERM", boot_option("bed.term") ? boot_option("bed.term") : "linux", 1);
    setenv("PS1", "guest:\\w# ", 1);
    shell = fork();
    if (!shell) {
        if (batch)
            execl("/bin/sh", "sh", "/run.sh", (char *)NULL);
        else
            execl("/bin/sh", "-sh", "-i", (char *)NULL);
        complain("exec", "/bin/sh");
        _exit(127);
    }
    signal(SIGTTOU, SIG_IGN); /* the shell may have left the terminal to a group of its own */
    status = wait_for(shell);
    tcdrain(1);
    _exit(status);
}

int main(int argc, char **argv)
{
    int batch, status;
    pid_t child;

    /* The kernel hands on words of its command line that it does not know, such as nokaslr. */
    if (argc < 2 || strcmp(argv[1], "on-disk")) {
        mount_all();
        load_modules();
        open_console();
        if (boot_option("root"))
            enter_root(boot_option("root"));
    }
    if (!fork()) {
        watch_power_button();
        _exit(0);
    }
    batch = !access("/run.sh", F_OK);
    child = fork();
    if (!child)
        run_shell(batch);
    status = wait_for(child);
    open_console(); /* the end of the session that owned the terminal has hung up the old one */
    if (batch && !ends_by("exit"))
        printf("\n@exit %d\n", status);
    fflush(stdout);
    end_machine(status);
    return 0;
}
