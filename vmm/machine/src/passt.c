/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* passt(1) is started for a network device, and again when it dies (vmm/machine/passt.h). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/dial.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/base/prop.h>
#include <vmm/devices-core/device.h>
#include <vmm/jail/filter.h>
#include <vmm/machine/passt.h>

#include "machine_env.h"
#include "passt_ports.h"
#include "program.h"

enum { READY_FD = 4, WORDS_MAX = 1024 };
#define DELAY_FIRST_NS UINT64_C(50000000)
#define DELAY_MOST_NS  UINT64_C(1000000000)
#define STEADY_NS      UINT64_C(10000000000) /* who has run as long has begun well */
#define LEAVE_NS       UINT64_C(200000000) /* for who has lost its connection */
#define READY_MS       10000
#define LAST_WORDS_NS  UINT64_C(200000000)

/* What passt says and nobody needs to hear: it may not reach the host's log from where it is, and drops root's rights. */
static const char *const noise[] = { "Failed to send ", "Don't run as root. Changing to nobody",
                                     NULL };

struct vmm_passt {
    struct vm_env env;
    struct vmm_spawner *spawner;
    char id[VDEV_ID_MAX + 1];
    void (*died)(void *ctx, const char *how);
    void (*alone)(void *ctx);
    void *ctx;
    struct program_words *words;
    int binary_fd, null_fd;

    int feed; /* our end */
    struct vm_watch watch;
    bool wanted; /* somebody has asked: */
    uint32_t tag, port;
    uint64_t asked_ns;
    int offered; /* to the first one who asks; -1 */

    struct vmm_child *child;
    bool killed; /* by us */
    char end[128]; /* of the last one */
    uint64_t begun_ns, delay_ns;
    struct vm_timer turn;
    struct machine_lines err;
    int err_fd;
    struct vm_ratelimit limit;
};

/* ---- one program ---- */

static void serve(struct vmm_passt *p);

static void ended(void *ctx, int code, int wait_status)
{
    struct vmm_passt *p = ctx;

    if (code)
        snprintf(p->end, sizeof(p->end), "it did not start: %.100s", vm_error_text());
    else
        vmm_jail_explain_status(wait_status, p->end, sizeof(p->end));
    vmm_child_free(p->child);
    p->child = NULL;
    vm_close(&p->offered);
    if (vm_loop_now_ns(p->env.loop) - p->begun_ns > STEADY_NS)
        p->delay_ns = DELAY_FIRST_NS;
    serve(p);
}

/* Its words are read also after its end. ready: descriptor 4. */
static int start(struct vmm_passt *p, int ready, int *ret_ours, int *ret_words)
{
    int link[2] = { -1, -1 }, words[2] = { -1, -1 };
    struct vmm_child_fd fd[3];
    struct vmm_child_config config = { .argv = (const char *const *)p->words->word,
                                       .fd = fd,
                                       .fds = VM_ARRAY_SIZE(fd),
                                       .binary_fd = p->binary_fd,
                                       .ended = ended,
                                       .ctx = p };
    int rc = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) ||
        fcntl(link[0], F_SETFL, O_NONBLOCK) || pipe2(words, O_CLOEXEC) ||
        fcntl(words[0], F_SETFL, O_NONBLOCK))
        rc = vm_fail_errno("passt's connection");
    fd[0] = (struct vmm_child_fd){ link[1], VMM_PROGRAM_FD };
    fd[1] = (struct vmm_child_fd){ ready, READY_FD };
    fd[2] = (struct vmm_child_fd){ words[1], STDERR_FILENO };
    if (!rc)
        rc = vmm_child_start(p->spawner, &config, &p->child);
    vm_close(&link[1]);
    vm_close(&words[1]);
    if (rc) {
        vm_close(&link[0]);
        vm_close(&words[0]);
        return rc;
    }
    p->begun_ns = vm_loop_now_ns(p->env.loop);
    p->killed = false;
    *ret_ours = link[0];
    *ret_words = words[0];
    return 0;
}

static int hear(struct vmm_passt *p, int words)
{
    vmm_lines_end(&p->err);
    vm_close(&p->err_fd);
    p->err_fd = words;
    return vmm_lines_begin(&p->err, p->env.loop, words);
}

/* ---- the device asks ---- */

static void give(struct vmm_passt *p, int fd)
{
    p->wanted = false;
    (void)vm_dial_answer(p->feed, p->tag, p->port, fd); /* or it is not read */
    vm_close(&fd);
}

static void start_again(struct vmm_passt *p)
{
    int ours = -1, words = -1;

    if (p->killed)
        vm_log_limited(&p->env, &p->limit, VM_LOG_WARN,
                       "%s: passt has lost its connection: it is started again", p->id);
    else
        vm_log_limited(&p->env, &p->limit, VM_LOG_WARN, "%s: passt ended: %s: it is started again",
                       p->id, p->end);
    if (!p->killed && p->died)
        p->died(p->ctx, p->end);
    if (start(p, p->null_fd, &ours, &words)) {
        vm_log_limited(&p->env, &p->limit, VM_LOG_WARN, "%s: %s", p->id, vm_error_text());
        p->wanted = false; /* the spawner is gone, or there are no files left */
        return;
    }
    if (hear(p, words))
        vm_log_limited(&p->env, &p->limit, VM_LOG_WARN, "%s: what passt says is not heard", p->id);
    give(p, ours);
}

static void its_turn(struct vm_timer *timer)
{
    serve(container_of(timer, struct vmm_passt, turn));
}

/* The device sees the end of a connection before we see that of a program, which ends at that of its connection, too. */
static void leave(struct vmm_passt *p, uint64_t now)
{
    if (now < p->asked_ns + LEAVE_NS) {
        (void)vm_timer_set(p->env.loop, &p->turn, p->asked_ns + LEAVE_NS, its_turn);
        return;
    }
    p->killed = true;
    vmm_child_kill(p->child);
}

/* One at a time: the next one begins when the last one is dead. */
static void serve(struct vmm_passt *p)
{
    uint64_t now = vm_loop_now_ns(p->env.loop);

    if (!p->wanted)
        return;
    if (p->offered >= 0) {
        int fd = p->offered;

        p->offered = -1;
        give(p, fd);
        return;
    }
    if (p->child) {
        leave(p, now);
        return;
    }
    if (now < p->begun_ns + p->delay_ns) {
        (void)vm_timer_set(p->env.loop, &p->turn, p->begun_ns + p->delay_ns, its_turn);
        return;
    }
    start_again(p);
    p->delay_ns = 2 * p->delay_ns < DELAY_MOST_NS ? 2 * p->delay_ns : DELAY_MOST_NS;
}

static void asked(struct vm_watch *watch, uint32_t events)
{
    struct vmm_passt *p = container_of(watch, struct vmm_passt, watch);
    int rc = vm_dial_question(p->feed, &p->tag, &p->port);

    (void)events;
    if (rc == -ECONNRESET) {
        vm_watch_del(watch);
        if (p->alone)
            p->alone(p->ctx);
        return;
    }
    if (rc)
        return;
    p->wanted = true;
    p->asked_ns = vm_loop_now_ns(p->env.loop);
    serve(p);
}

/* ---- the first one ---- */

struct beginning {
    int ready, words; /* where it writes to */
    char text[WORDS_MAX];
    size_t len;
};

/* False: the end. */
static bool take_words(struct beginning *b)
{
    ssize_t n;

    while ((n = vm_read(b->words, b->text + b->len, sizeof(b->text) - 1 - b->len)) > 0) {
        b->len += (size_t)n;
        if (b->len == sizeof(b->text) - 1)
            b->len = 0; /* the last ones count */
    }
    return n == -EAGAIN;
}

/* The last line that says something. */
static const char *last_words(struct beginning *b)
{
    const char *last = NULL;
    char *rest = b->text, *line;

    b->text[b->len] = '\0';
    while ((line = strsep(&rest, "\n")))
        if (*line && !vmm_lines_is_noise(noise, line, strlen(line)))
            last = line;
    return last;
}

/* The control loop does not run yet: a loop of its own hears how it ended. */
static void hear_end(struct vmm_passt *p)
{
    struct vm_loop *loop;
    uint64_t begun, passed = 0;

    if (vm_loop_new(&p->env, 0, &loop))
        return;
    begun = vm_loop_now_ns(loop);
    if (!vmm_spawner_lend(p->spawner, loop))
        while (p->child && passed < LAST_WORDS_NS &&
               vm_loop_step(loop, LAST_WORDS_NS - passed) >= 0)
            passed = vm_loop_now_ns(loop) - begun;
    vmm_spawner_take_back(p->spawner);
    vm_loop_free(loop);
}

static int explain_end(struct vmm_passt *p, struct beginning *b)
{
    struct pollfd fd = { .fd = b->words, .events = POLLIN };
    const char *last;
    char shown[200];

    while (take_words(b) && poll(&fd, 1, LAST_WORDS_NS / 1000000) > 0)
        ;
    last = last_words(b);
    if (last)
        return vm_fail(-ECHILD, "passt: %s",
                       vm_prop_show(last, strlen(last), shown, sizeof(shown)));
    hear_end(p);
    return vm_fail(-ECHILD, "%s is not ready: %s", p->words->word[0],
                   p->child ? "it closed its side" : p->end);
}

static int await_ready(struct vmm_passt *p, struct beginning *b)
{
    struct pollfd fd[] = { { .fd = b->ready, .events = POLLIN },
                           { .fd = b->words, .events = POLLIN } };
    uint64_t begun = vm_now_ns(&p->env, VM_CLOCK_MONOTONIC), passed = 0;

    while (passed < READY_MS) {
        if (poll(fd, VM_ARRAY_SIZE(fd), READY_MS - (int)passed) < 0 && errno != EINTR)
            return vm_fail_errno("passt");
        if (fd[0].revents & POLLIN)
            return 0;
        if (fd[0].revents)
            return explain_end(p, b);
        if (fd[1].revents && !take_words(b))
            fd[1].fd = -1;
        passed = (vm_now_ns(&p->env, VM_CLOCK_MONOTONIC) - begun) / 1000000;
    }
    return vm_fail(-ETIMEDOUT, "%s is not ready after %d s", p->words->word[0], READY_MS / 1000);
}

/* passt, started by root, opens descriptor 4 as nobody. */
static int ready_pipe(int pair[2])
{
    return pipe2(pair, O_CLOEXEC) || fchmod(pair[1], 0222) ? vm_fail_errno("pipe") : 0;
}

static int start_first(struct vmm_passt *p)
{
    struct beginning *b = calloc(1, sizeof(*b));
    int pair[2] = { -1, -1 }, rc;

    if (!b)
        return vm_fail(-ENOMEM, "out of memory");
    b->words = -1;
    rc = ready_pipe(pair);
    if (!rc)
        rc = start(p, pair[1], &p->offered, &b->words);
    vm_close(&pair[1]);
    b->ready = pair[0];
    if (!rc)
        rc = await_ready(p, b);
    if (!rc) {
        rc = hear(p, b->words);
        b->words = -1;
    }
    vm_close(&b->ready);
    vm_close(&b->words);
    free(b);
    return rc;
}

/* ---- life ---- */

static int find_program(struct vmm_passt *p)
{
    const char *name = p->words->word[0];
    int rc = p->binary_fd = vmm_program_open(name);

    if (rc == -ENOENT && !strchr(name, '/'))
        return vm_fail(-ENOENT,
                       "mode=user needs %s, which is not in PATH: install it (Debian, Ubuntu, "
                       "Fedora: package %s; https://passt.top)",
                       name, name);
    return rc < 0 ? rc : 0;
}

static int make_feed(struct vmm_passt *p, int *ret_theirs)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return vm_fail_errno("socketpair");
    p->feed = pair[0];
    *ret_theirs = pair[1];
    return vm_watch_add(p->env.loop, &p->watch, p->feed, EPOLLIN, asked);
}

static int begin(struct vmm_passt *p, const struct vmm_passt_setup *setup, int *ret_theirs)
{
    int rc = setup->spawner ? vmm_program_words(setup->text, &p->words)
                            : vm_fail(-EINVAL,
                                      "%s: mode=user: there is no spawner that would "
                                      "start passt",
                                      p->id);

    if (!rc)
        rc = find_program(p);
    if (!rc)
        rc = vmm_passt_try_ports(p->words->word);
    if (!rc) {
        p->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        rc = p->null_fd < 0 ? vm_fail_errno("/dev/null") : 0;
    }
    if (!rc)
        rc = start_first(p);
    return rc ? rc : make_feed(p, ret_theirs);
}

int vmm_passt_new(const struct vmm_passt_setup *setup, struct vmm_passt **ret_passt, int *ret_fd)
{
    struct vmm_passt *p = calloc(1, sizeof(*p));
    int rc, theirs = -1;

    if (!p)
        return vm_fail(-ENOMEM, "out of memory");
    p->env = *setup->env;
    p->spawner = setup->spawner;
    p->died = setup->died;
    p->alone = setup->alone;
    p->ctx = setup->ctx;
    p->binary_fd = p->null_fd = p->feed = p->offered = p->err_fd = -1;
    p->delay_ns = DELAY_FIRST_NS;
    snprintf(p->id, sizeof(p->id), "%s", setup->id);
    vmm_lines_init(&p->err, &p->env, p->id);
    p->err.noise = noise;
    rc = begin(p, setup, &theirs);
    if (rc) {
        struct vm_error why;

        vm_error_save(rc, &why);
        vm_close(&theirs);
        vmm_passt_free(p);
        return vm_error_restore(&why);
    }
    *ret_passt = p;
    *ret_fd = theirs;
    return 0;
}

void vmm_passt_free(struct vmm_passt *p)
{
    if (!p)
        return;
    vm_timer_cancel(&p->turn);
    vm_watch_del(&p->watch);
    vmm_lines_end(&p->err);
    vmm_child_free(p->child);
    vm_close(&p->err_fd);
    vm_close(&p->offered);
    vm_close(&p->feed);
    vm_close(&p->null_fd);
    vm_close(&p->binary_fd);
    free(p->words);
    free(p);
}
