/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* VMM_PROGRAM and PAYLOAD_GUEST name the program and the guest. PAYLOAD_STRICT=1: KVM is no software, the guest checks more.
 * PAYLOAD_GICV2=1: the host gives guests a GICv2. */
#include "machine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    DISKS = 2,
    SECTORS = 128,
    SECTOR_WORDS = 64,
    DEADLINE_S = 60,
    FEED_MAX = 1024,
    ARGUMENTS_MAX = 32
};
#define SHOWN_BYTES 1500

struct run {
    char directory[64], words[256];
    pid_t pid;
    int fifo, out, code;
    size_t fed; /* bytes */
    size_t len, line; /* of the text; where the line that is not whole yet begins */
    char text[65536];
};

/* As in the guest: tests/payload/guest/virtio.h. */
static uint64_t disk_word(unsigned disk, uint64_t offset)
{
    return (uint64_t)((unsigned __int128)(offset + disk + 1) * 0x9e3779b97f4a7c15ull);
}

static void disk_path(const struct run *r, unsigned n, char path[96])
{
    snprintf(path, 96, "%s/disk%u", r->directory, n);
}

static void make_disk(const struct run *r, unsigned n)
{
    char path[96];
    FILE *f;

    disk_path(r, n, path);
    f = fopen(path, "w");
    cr_assert(f);
    for (uint64_t i = 0; i < SECTORS * SECTOR_WORDS; i++) {
        uint64_t word = disk_word(n, i * 8);

        cr_assert_eq(fwrite(&word, sizeof(word), 1, f), 1);
    }
    cr_assert(!fclose(f));
}

/* Each sector is as it was, or, in the second half, its complement: what the guest writes. */
static void check_disk(const struct run *r, unsigned n)
{
    static uint64_t words[SECTORS][SECTOR_WORDS];
    char path[96];
    FILE *f;

    disk_path(r, n, path);
    f = fopen(path, "r");
    cr_assert(f);
    cr_assert_eq(fread(words, sizeof(words), 1, f), 1);
    fclose(f);
    for (unsigned s = 0; s < SECTORS; s++) {
        bool changed = words[s][0] != disk_word(n, s * SECTOR_WORDS * 8);

        cr_assert(!changed || s >= SECTORS / 2, "disk %u: sector %u was written", n, s);
        for (unsigned w = 0; w < SECTOR_WORDS; w++) {
            uint64_t word = disk_word(n, (s * SECTOR_WORDS + w) * 8);

            cr_assert_eq(words[s][w], changed ? ~word : word, "disk %u: sector %u", n, s);
        }
    }
}

static void prepare(struct run *r)
{
    char path[96];

    if (access("/dev/kvm", R_OK | W_OK))
        cr_skip_test("/dev/kvm cannot be used: %s", strerror(errno));
    strcpy(r->directory, "/tmp/vmm-payload-XXXXXX");
    cr_assert(mkdtemp(r->directory));
    for (unsigned n = 0; n < DISKS; n++)
        make_disk(r, n);
    snprintf(path, sizeof(path), "%s/fifo", r->directory);
    cr_assert(!mkfifo(path, 0600));
    r->fifo = open(path, O_RDWR | O_CLOEXEC); /* both ends: it has always a writer */
    cr_assert(r->fifo >= 0);
}

static void clean_up(struct run *r)
{
    char command[96];

    close(r->fifo);
    close(r->out);
    snprintf(command, sizeof(command), "rm -rf %s", r->directory);
    cr_assert_eq(system(command), 0);
}

static void exec_vmm(const struct run *r, const char *const arguments[])
{
    bool fifo = strstr(r->words, "fifo=on");
    const char *argv[ARGUMENTS_MAX + 2] = {
        getenv("VMM_PROGRAM"),    "run", "--disk", "path=disk0", "--disk", "path=disk1", "--rng",
        fifo ? "src=fifo" : "on", "-p",  r->words,
    };
    size_t n = 10;

    while (*arguments && n < ARGUMENTS_MAX)
        argv[n++] = *arguments++;
    argv[n++] = getenv("PAYLOAD_GUEST");
    if (argv[0] && argv[n - 1] && !chdir(r->directory))
        execv(argv[0], (char *const *)argv);
    _exit(127);
}

static void start(struct run *r, const char *const arguments[])
{
    int out[2];

    cr_assert(!pipe2(out, O_CLOEXEC));
    r->pid = fork();
    cr_assert(r->pid >= 0);
    if (!r->pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that times out is killed, and cannot end it */
        dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
        dup2(out[1], 1);
        dup2(out[1], 2);
        exec_vmm(r, arguments);
    }
    close(out[1]);
    r->out = out[0];
}

/* The entropy device's bytes are numbered. One write, so that it never finds a part of them. */
static void feed(struct run *r, unsigned long count)
{
    uint8_t bytes[FEED_MAX];

    cr_assert_leq(count, sizeof(bytes));
    for (unsigned long i = 0; i < count; i++)
        bytes[i] = (uint8_t)(r->fed++ & 0xff);
    cr_assert_eq(write(r->fifo, bytes, count), (ssize_t)count);
}

/* With the user's command; it has ended when the device has. */
static void take_out(const struct run *r, const char *id, int len)
{
    char command[512];

    snprintf(command, sizeof(command), "%s remove %s/sock %.*s", getenv("VMM_PROGRAM"),
             r->directory, len, id);
    cr_assert_eq(system(command), 0, "%s", command);
}

static void obey(struct run *r, const char *line)
{
    if (!strncmp(line, "@feed ", 6))
        feed(r, strtoul(line + 6, NULL, 16));
    else if (!strncmp(line, "@button", 7))
        kill(r->pid, SIGTERM);
    else if (!strncmp(line, "@remove ", 8))
        take_out(r, line + 8, (int)strcspn(line + 8, "\r\n"));
}

/* Reads until the guest's last word. False: time is up. */
static bool follow(struct run *r)
{
    struct pollfd p = { .fd = r->out, .events = POLLIN };
    time_t end = time(NULL) + DEADLINE_S;

    while (time(NULL) < end) {
        ssize_t n = poll(&p, 1, 1000);
        char *newline;

        if (n <= 0)
            continue;
        n = read(r->out, r->text + r->len, sizeof(r->text) - 1 - r->len);
        if (n <= 0)
            return true;
        r->len += (size_t)n;
        while ((newline = memchr(r->text + r->line, '\n', r->len - r->line))) {
            obey(r, r->text + r->line);
            r->line = (size_t)(newline - r->text) + 1;
        }
    }
    return false;
}

/* The end of the text, which says where it failed. */
static const char *last_words(const struct run *r)
{
    return r->text + (r->len > SHOWN_BYTES ? r->len - SHOWN_BYTES : 0);
}

static void run(struct run *r, const char *test, const char *options, const char *const arguments[])
{
    int status;

    snprintf(r->words, sizeof(r->words), "test=%s %s%s%s", test, options,
             getenv("PAYLOAD_STRICT") ? " strict=on" : "",
             getenv("PAYLOAD_GICV2") ? " gic=v2" : "");
    prepare(r);
    start(r, arguments);
    if (!follow(r)) {
        kill(r->pid, SIGKILL);
        waitpid(r->pid, &status, 0);
        cr_assert(false, "%s: no end within %d s:\n%s", r->words, DEADLINE_S, last_words(r));
    }
    cr_assert_eq(waitpid(r->pid, &status, 0), r->pid);
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void machine_test(const char *test, const char *options, const char *const arguments[])
{
    struct run *r = calloc(1, sizeof(*r));

    cr_assert(r);
    run(r, test, options, arguments);
    cr_assert(r->code == 0 && strstr(r->text, "PASSED\n"), "%s: the machine ended with %d:\n%s",
              r->words, r->code, last_words(r));
    for (unsigned n = 0; n < DISKS; n++)
        check_disk(r, n);
    clean_up(r);
    free(r);
}

void machine_test_ends(const char *test, int code, const char *const arguments[])
{
    struct run *r = calloc(1, sizeof(*r));

    cr_assert(r);
    run(r, test, "", arguments);
    cr_assert(r->code == code && !strstr(r->text, "FAILED"), "%s: the machine ended with %d:\n%s",
              r->words, r->code, last_words(r));
    clean_up(r);
    free(r);
}
