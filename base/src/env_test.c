/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/env.h>
#include <vmm/base/error.h>

#define SECOND UINT64_C(1000000000)

struct fake {
    struct vm_env env;
    uint64_t now_ns;
    unsigned lines;
    enum vm_level level;
    char last[2][600]; /* the newest first */
};

static void fake_log(void *ctx, enum vm_level level, const char *text)
{
    struct fake *fake = ctx;

    fake->lines++;
    fake->level = level;
    memcpy(fake->last[1], fake->last[0], sizeof(fake->last[0]));
    snprintf(fake->last[0], sizeof(fake->last[0]), "%s", text);
}

static uint64_t fake_now_ns(void *ctx, enum vm_clock clock)
{
    struct fake *fake = ctx;

    return clock == VM_CLOCK_MONOTONIC ? fake->now_ns : 0;
}

static void fake_init(struct fake *fake)
{
    *fake = (struct fake){
        .env = { .ctx = fake, .log = fake_log, .now_ns = fake_now_ns },
        .now_ns = 100 * SECOND,
    };
}

Test(env, a_log_line_is_formatted_and_handed_on)
{
    struct fake fake;

    fake_init(&fake);
    vm_log(&fake.env, VM_LOG_WARN, "queue %d", 3);

    cr_assert_eq(fake.lines, 1);
    cr_assert_eq(fake.level, VM_LOG_WARN);
    cr_assert_str_eq(fake.last[0], "queue 3");
}

Test(env, logging_without_an_environment_or_sink_does_nothing)
{
    struct vm_env silent = { 0 };
    struct vm_ratelimit limit = { 0 };

    vm_log(NULL, VM_LOG_ERROR, "x");
    vm_log(&silent, VM_LOG_ERROR, "x");
    vm_log_limited(NULL, &limit, VM_LOG_ERROR, "x");
    vm_log_limited(&silent, &limit, VM_LOG_ERROR, "x");

    cr_assert_eq(limit.used, 0);
}

Test(env, a_long_log_line_ends_in_dots)
{
    struct fake fake;
    char big[2000];

    fake_init(&fake);
    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    vm_log(&fake.env, VM_LOG_INFO, "%s", big);

    cr_assert_str_eq(fake.last[0] + strlen(fake.last[0]) - 4, "a...");
}

Test(env, a_zeroed_limit_lets_ten_lines_through)
{
    struct vm_ratelimit limit = { 0 };
    uint32_t missed;

    for (int i = 0; i < 10; i++)
        cr_assert(vm_ratelimit_ok(&limit, 5 * SECOND, &missed));

    cr_assert_not(vm_ratelimit_ok(&limit, 5 * SECOND, &missed));
    cr_assert_eq(limit.dropped, 1);
}

Test(env, the_next_window_opens_after_ten_seconds_and_tells_what_was_missed)
{
    struct vm_ratelimit limit = { .burst = 1, .window_start_ns = 0 };
    uint32_t missed;

    cr_assert(vm_ratelimit_ok(&limit, 20 * SECOND, &missed));
    cr_assert_not(vm_ratelimit_ok(&limit, 21 * SECOND, &missed));
    cr_assert_not(vm_ratelimit_ok(&limit, 30 * SECOND - 1, &missed));

    cr_assert(vm_ratelimit_ok(&limit, 30 * SECOND, &missed));
    cr_assert_eq(missed, 2);
    cr_assert_eq(limit.dropped, 2);
    cr_assert(vm_ratelimit_ok(&limit, 50 * SECOND, &missed));
    cr_assert_eq(missed, 0, "told once only");
}

Test(env, a_limit_has_its_own_burst_and_interval)
{
    struct vm_ratelimit limit = { .burst = 2, .interval_ns = 5 };
    uint32_t missed;

    cr_assert(vm_ratelimit_ok(&limit, 100, &missed));
    cr_assert(vm_ratelimit_ok(&limit, 104, &missed));
    cr_assert_not(vm_ratelimit_ok(&limit, 104, &missed));
    cr_assert(vm_ratelimit_ok(&limit, 105, &missed));
}

Test(env, a_clock_that_goes_back_does_not_silence_a_limit)
{
    struct vm_ratelimit limit = { .burst = 1 };
    uint32_t missed;

    cr_assert(vm_ratelimit_ok(&limit, 1000 * SECOND, &missed));

    cr_assert(vm_ratelimit_ok(&limit, 1 * SECOND, &missed));
}

Test(env, a_limited_log_says_how_many_lines_were_dropped)
{
    struct vm_ratelimit limit = { .burst = 1 };
    struct fake fake;

    fake_init(&fake);
    for (int i = 0; i < 4; i++)
        vm_log_limited(&fake.env, &limit, VM_LOG_WARN, "line %d", i);
    cr_assert_eq(fake.lines, 1);
    fake.now_ns += 60 * SECOND;
    vm_log_limited(&fake.env, &limit, VM_LOG_WARN, "line %d", 4);

    cr_assert_eq(fake.lines, 3);
    cr_assert_str_eq(fake.last[1], "3 lines like the next one were dropped");
    cr_assert_str_eq(fake.last[0], "line 4");
}

/* Makes standard error a pipe and returns its reading end. */
static int take_stderr(void)
{
    int ends[2];

    cr_assert_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

Test(env, the_hosts_log_writes_one_line_with_its_level)
{
    char text[100] = "";
    struct vm_env env;
    int fd = take_stderr();

    vm_env_host(VM_LOG_WARN, &env);
    vm_log(&env, VM_LOG_WARN, "fan %d", 1);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    cr_assert_eq(n, 15);
    cr_assert_str_eq(text, "warning: fan 1\n");
}

Test(env, the_hosts_log_drops_what_is_above_its_level)
{
    char byte;
    struct vm_env env;
    int fd = take_stderr();

    vm_env_host(VM_LOG_WARN, &env);
    vm_log(&env, VM_LOG_INFO, "chatter");

    cr_assert_eq(read(fd, &byte, 1), -1);
    cr_assert_eq(errno, EAGAIN);
}

Test(env, the_hosts_log_does_not_block_on_a_full_pipe)
{
    static const char fill[4096];
    struct vm_env env;

    take_stderr();
    while (write(STDERR_FILENO, fill, sizeof(fill)) > 0)
        ;
    fcntl(STDERR_FILENO, F_SETFL, 0); /* would block now */

    vm_env_host(VM_LOG_DEBUG, &env);
    vm_log(&env, VM_LOG_ERROR, "nobody reads this");
}

Test(env, the_hosts_clocks_tell_the_time)
{
    struct vm_env env;

    vm_env_host(VM_LOG_ERROR, &env);
    uint64_t a = vm_now_ns(&env, VM_CLOCK_MONOTONIC);
    uint64_t b = vm_now_ns(&env, VM_CLOCK_MONOTONIC);
    uint64_t wall = vm_now_ns(&env, VM_CLOCK_WALL);

    cr_assert_leq(a, b);
    cr_assert_gt(wall, 1600000000 * SECOND);
    cr_assert_null(env.loop);
}

Test(env, the_hosts_random_fills_everything)
{
    static unsigned char a[1000], b[1000];
    struct vm_env env;

    vm_env_host(VM_LOG_ERROR, &env);
    cr_assert_eq(env.random(env.ctx, a, sizeof(a)), 0);
    cr_assert_eq(env.random(env.ctx, b, sizeof(b)), 0);

    cr_assert_neq(memcmp(a, b, sizeof(a)), 0);
    cr_assert_neq(memcmp(a + 900, b + 900, 100), 0);
}

struct folder {
    char path[64];
    char file[80];
};

static void folder_make(struct folder *folder)
{
    strcpy(folder->path, "/tmp/vmm-env-XXXXXX");
    cr_assert_not_null(mkdtemp(folder->path));
    snprintf(folder->file, sizeof(folder->file), "%s/file", folder->path);
}

static void folder_remove(struct folder *folder)
{
    unlink(folder->file);
    rmdir(folder->path);
}

Test(env, the_hosts_opener_creates_only_when_asked)
{
    struct folder folder;
    struct vm_env env;

    folder_make(&folder);
    vm_env_host(VM_LOG_ERROR, &env);
    int missing = env.open(env.ctx, folder.file, VM_OPEN_READ | VM_OPEN_WRITE);
    int fd = env.open(env.ctx, folder.file, VM_OPEN_WRITE | VM_OPEN_CREATE);

    cr_assert_eq(missing, -ENOENT);
    cr_assert_not_null(strstr(vm_error_text(), folder.file));
    cr_assert_geq(fd, 0);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_WRONLY);
    close(fd);
    folder_remove(&folder);
}

Test(env, the_hosts_opener_empties_a_file_only_when_asked)
{
    struct folder folder;
    struct vm_env env;
    struct stat kept, emptied;
    int fd;

    folder_make(&folder);
    vm_env_host(VM_LOG_ERROR, &env);
    fd = env.open(env.ctx, folder.file, VM_OPEN_WRITE | VM_OPEN_CREATE);
    cr_assert_eq(write(fd, "abc", 3), 3);
    close(fd);

    fd = env.open(env.ctx, folder.file, VM_OPEN_WRITE);
    cr_assert_eq(fstat(fd, &kept), 0);
    close(fd);
    fd = env.open(env.ctx, folder.file, VM_OPEN_WRITE | VM_OPEN_TRUNCATE);
    cr_assert_eq(fstat(fd, &emptied), 0);
    close(fd);

    cr_assert_eq(kept.st_size, 3);
    cr_assert_eq(emptied.st_size, 0);
    folder_remove(&folder);
}

Test(env, the_hosts_opener_opens_for_reading_and_for_both)
{
    struct vm_env env;

    vm_env_host(VM_LOG_ERROR, &env);
    int in = env.open(env.ctx, "/dev/null", VM_OPEN_READ);
    int both = env.open(env.ctx, "/dev/null", VM_OPEN_READ | VM_OPEN_WRITE);

    cr_assert_eq(fcntl(in, F_GETFL) & O_ACCMODE, O_RDONLY);
    cr_assert_eq(fcntl(both, F_GETFL) & O_ACCMODE, O_RDWR);
    close(in);
    close(both);
}

Test(env, the_hosts_opener_refuses_neither_reading_nor_writing)
{
    struct vm_env env;

    vm_env_host(VM_LOG_ERROR, &env);

    cr_assert_eq(env.open(env.ctx, "/dev/null", VM_OPEN_CREATE), -EINVAL);
}

Test(env, the_hosts_opener_does_not_hang_on_a_fifo)
{
    struct folder folder;
    struct vm_env env;

    folder_make(&folder);
    cr_assert_eq(mkfifo(folder.file, 0600), 0);
    vm_env_host(VM_LOG_ERROR, &env);
    int fd = env.open(env.ctx, folder.file, VM_OPEN_READ);

    cr_assert_geq(fd, 0);
    close(fd);
    folder_remove(&folder);
}
