/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * First process of the benchmarks' guests. A static program: the cost of a shell moves with every
 * timer tick. The kernel hands on the words of its command line that it does not know as
 * environment:
 *
 *     bench=off          powers off          bench=reboot       reboots (reboot=t: triple fault)
 *     bench=idle         says @ready on the console and sleeps
 *     bench=mark         one write to port 0x5e1, or where there are no ports to address 0x9800000, which is
 *                        nobody's (ends the count of exits until init), then off
 *     bench=tty:N        N bytes to the serial port, drained, then off
 *     bench=read:N       N reads of 4 KiB from /dev/vda past the page cache, then off
 *     bench=udp:N        N of the shortest frames, bench=rr:N  N times a byte and its echo, bench=out:N, in:N  N KiB by TCP
 *                        to and from the host (guest_net.c), then off; vrr, vout, vin: by AF_VSOCK instead
 *     bench_end=reboot   reboots where it would power off
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if __has_include(<sys/io.h>)
#include <sys/io.h>
#else
#include <sys/mman.h>
#endif
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "guest_net.h"

enum {
    MARK_PORT = 0x5e1,
    MARK_ADDRESS = 0x9800000,
    BLOCK = 4096,
    DISK_BLOCKS = 4096,
    WAIT_MS = 5000
};

#if __has_include(<sys/io.h>)
#define SERIAL "/dev/ttyS0"
#else
#define SERIAL "/dev/ttyAMA0"
#endif

static void complain(const char *what)
{
    fprintf(stderr, "@failed %s: %s\n", what, strerror(errno));
}

static void load_modules(void)
{
    char path[256] = "/lib/modules/";
    size_t head = strlen(path);
    FILE *list = fopen("/lib/modules.list", "re");

    while (list && fgets(path + head, (int)(sizeof(path) - head), list)) {
        int fd;

        path[strcspn(path, "\n")] = 0;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
            complain(path);
        close(fd);
    }
    if (list)
        fclose(list);
}

static int open_late(const char *path, int flags)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    int fd;

    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    for (int ms = 0; (fd = open(path, flags)) < 0 && ms < WAIT_MS; ms++)
        nanosleep(&pause, NULL);
    return fd;
}

static void send_bytes(long count)
{
    int fd = open_late(SERIAL, O_WRONLY | O_NOCTTY);
    char block[1024];

    memset(block, '.', sizeof(block));
    for (ssize_t n; fd >= 0 && count > 0; count -= n) {
        n = write(fd, block, count < (long)sizeof(block) ? (size_t)count : sizeof(block));
        if (n <= 0) {
            complain("write");
            return;
        }
    }
    if (fd < 0 || tcdrain(fd))
        complain(SERIAL);
}

static void read_blocks(long count)
{
    int fd = open_late("/dev/vda", O_RDONLY | O_DIRECT);
    static char block[BLOCK] __attribute__((aligned(BLOCK)));

    if (fd < 0)
        complain("/dev/vda");
    for (long i = 0; fd >= 0 && i < count; i++) {
        /* 1021 has no common factor with the size: each read goes elsewhere. */
        off_t at = (i * 1021 % DISK_BLOCKS) * BLOCK;

        if (pread(fd, block, sizeof(block), at) != BLOCK) {
            complain("read");
            return;
        }
    }
}

static void mark(void)
{
#if __has_include(<sys/io.h>)
    if (!iopl(3))
        outb(0, MARK_PORT);
#else
    int fd = open_late("/dev/mem", O_RDWR | O_SYNC);
    volatile char *at = mmap(NULL, BLOCK, PROT_WRITE, MAP_SHARED, fd, MARK_ADDRESS);

    if (at == MAP_FAILED)
        complain("/dev/mem");
    else
        *at = 0;
#endif
}

/* "NAME:N" */
static void on_the_network(char *what)
{
    char *count = strchr(what, ':');

    if (!count)
        return;
    *count = 0;
    guest_net(what, strtol(count + 1, NULL, 10));
}

int main(void)
{
    const char *end = getenv("bench_end");
    char *what = getenv("bench");

    load_modules();
    if (!what || !strcmp(what, "reboot"))
        end = "reboot";
    else if (!strcmp(what, "mark"))
        mark();
    else if (!strncmp(what, "tty:", 4))
        send_bytes(strtol(what + 4, NULL, 10));
    else if (!strncmp(what, "read:", 5))
        read_blocks(strtol(what + 5, NULL, 10));
    else if (!strcmp(what, "idle")) {
        printf("@ready\n");
        fflush(stdout);
        for (;;)
            pause();
    } else {
        on_the_network(what);
    }
    reboot(end && !strcmp(end, "reboot") ? RB_AUTOBOOT : RB_POWER_OFF);
    return 0;
}
