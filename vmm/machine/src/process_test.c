/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the machine does with processes that are not what they should be. Those that are run in tests/payload and tests/e2e. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <sys/epoll.h>

#include <vmm/machine/process.h>
#include <vmm/vhost/backend.h>

#include "machine_test.h"

#define WAIT_NS (20ULL * 1000000000ULL)

struct door_config {
    struct vdev_common common;
    char *path, *play;
    uint32_t value;
};
static const struct vm_prop door_props[] = {
    VDEV_PROPS(struct door_config),
    { .name = "path", .type = VM_PROP_PATH, .offset = offsetof(struct door_config, path) },
    { .name = "play", .type = VM_PROP_STRING, .offset = offsetof(struct door_config, play) },
    { .name = "value",
      .type = VM_PROP_U32,
      .live = true,
      .offset = offsetof(struct door_config, value) },
    { 0 },
};
static const struct vdev_class door_class = {
    .name = "door",
    .kind = VDEV_VIRTIO,
    .placements = VDEV_THREAD | VDEV_PROCESS,
    .props = door_props,
    .config_size = sizeof(struct door_config),
};

/* ---- the process: plays what its options say ---- */

static void tell(enum vmm_process_type type, int code, uint32_t value, const char *text)
{
    struct vmm_process_message m;

    vmm_process_message(&m, type, code, value, text);
    (void)vmm_process_send(VMM_PROCESS_FD_CHANNEL, &m, -1);
}

static void ask_for(const char *name)
{
    struct pollfd p = { .fd = VMM_PROCESS_FD_CHANNEL, .events = POLLIN };
    struct vmm_process_message m;
    char byte = '?';
    int fd;

    tell(VMM_PROCESS_OPEN, 0, VM_OPEN_READ, name);
    (void)poll(&p, 1, -1);
    if (vmm_process_receive(VMM_PROCESS_FD_CHANNEL, &m, &fd) || m.type != VMM_PROCESS_OPENED)
        tell(VMM_PROCESS_FAILED, -EPROTO, 0, "no answer");
    else if (m.code)
        tell(VMM_PROCESS_FAILED, m.code, 0, m.text);
    else if (read(fd, &byte, 1) == 1 && byte == 'x')
        tell(VMM_PROCESS_FAILED, -EEXIST, 0, "it is the file");
}

static void ready(uint32_t id, uint32_t queues)
{
    struct vmm_process_message m = { .type = VMM_PROCESS_READY };

    m.shape.id = id;
    m.shape.queues = queues;
    m.shape.queue_size[0] = 16;
    (void)vmm_process_send(VMM_PROCESS_FD_CHANNEL, &m, -1);
}

static void stay(void)
{
    struct pollfd p = { .fd = VMM_PROCESS_FD_CHANNEL, .events = 0 };

    (void)poll(&p, 1, -1); /* until the VMM is gone */
}

/* An honest one, until its value is set to 9: then it dies. */
static void on_set(struct vm_watch *watch, uint32_t events)
{
    struct vmm_process_message m;
    int fd;

    (void)events;
    if (vmm_process_receive(watch->fd, &m, &fd) || !strcmp(m.text, "value=9"))
        _exit(1);
    tell(VMM_PROCESS_LOG, 0, VM_LOG_WARN, m.text);
}

static void closed(void *ctx, const struct vm_error *why)
{
    (void)ctx;
    (void)why;
    _exit(0);
}

static void serve_honestly(void)
{
    static const struct vhost_backend_ops ops = { closed };
    static const struct lab_config config;
    static struct vdev_machine machine;
    static struct vm_watch watch;
    static struct vm_env env;
    struct vdev_context context = {
        .env = &env, .machine = &machine, .id = "door0", .config = &config
    };
    struct vhost_backend *backend;
    struct gm_space *space;
    struct vdev *dev;

    vm_env_host(VM_LOG_ERROR, &env);
    if (vm_loop_new(&env, 0, &env.loop) || gm_space_new(&env, &space))
        _exit(1);
    context.memory = space;
    if (tube_create(&context, &dev) ||
        vhost_backend_new(container_of(dev, struct virtio_dev, dev), space, &ops, NULL, &backend) ||
        vhost_backend_serve(backend, VMM_PROCESS_FD_VHOST) ||
        vm_watch_add(env.loop, &watch, VMM_PROCESS_FD_CHANNEL, EPOLLIN, on_set))
        _exit(1);
    ready(VIRTIO_ID_RNG, 1);
    (void)vm_loop_run(env.loop);
}

static bool plays(const char *text, const char *what)
{
    return strstr(text, what);
}

static int play(int argc, char **argv)
{
    const char *text = argc > 2 ? argv[2] : "";
    char path[128] = "";

    if (plays(text, "refuse"))
        tell(VMM_PROCESS_FAILED, -EBUSY, 0, "the\ndoor is shut");
    if (plays(text, "no-id"))
        ready(0, 1);
    if (plays(text, "no-queue"))
        ready(4, 0);
    if (plays(text, "no-size"))
        ready(4, 2);
    if (plays(text, "unknown"))
        tell((enum vmm_process_type)77, 0, 0, "");
    if (plays(text, "half"))
        (void)!send(VMM_PROCESS_FD_CHANNEL, "half", 4, 0);
    if (plays(text, "honest\",value=9"))
        tell(VMM_PROCESS_LOG, 0, VM_LOG_WARN, "it begins with 9");
    if (plays(text, "honest"))
        serve_honestly();
    if (plays(text, "own-file") && sscanf(strstr(text, "path=\""), "path=\"%127[^\"]", path) == 1)
        ask_for(path);
    if (plays(text, "other-file"))
        ask_for("/etc/passwd");
    if (plays(text, "cry")) {
        (void)!write(STDERR_FILENO, "help\x1b[2J\nme", 11);
        return 0;
    }
    if (!plays(text, "leave"))
        stay();
    return 0;
}

/* ---- the machine ---- */

static struct vmm_spawner *spawner;
static char file[] = "/tmp/vmm-door-XXXXXX";

static void set_up(void)
{
    struct vmm_spawner_config config = { .env = &t.env, .entry = play };
    struct vm_env host;
    int fd;

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator makes no jails");
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    cr_skip_test("the sanitizer's own thread forbids user namespaces");
#endif
#endif
    mt_open(false);
    cr_assert_eq(vmm_spawner_start(&config, &spawner), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_ready(spawner, WAIT_NS), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_attach(spawner, t.env.loop), 0);
    t.config.sandbox.spawner = spawner;
    vm_env_host(VM_LOG_ERROR, &host);
    t.env.open = host.open;
    fd = mkstemp(file);
    cr_assert_eq(write(fd, "x", 1), 1);
    close(fd);
}

static void mt_finish(void)
{
    cr_assert_eq(vmm_machine_free(t.machine), 0);
    t.machine = NULL;
}

static void tear_down(void)
{
    vmm_spawner_free(spawner);
    unlink(file);
    hv_free(t.hv);
    close(t.config.kernel.fd);
    vm_loop_free(t.env.loop);
}

TestSuite(process, .init = set_up, .fini = tear_down, .timeout = 60);

/* The machine cannot be made: its code. */
static int refused(const char *what)
{
    static struct vmm_machine_device device = { .cls = &door_class, .process = true };
    struct door_config config = { .path = file, .play = (char *)(uintptr_t)what };
    int rc;

    device.config = &config;
    t.config.devices = &device;
    t.config.device_count = 1;
    rc = vmm_machine_new(&t.config, &t.machine);
    cr_assert_neq(rc, 0, "a machine was made");
    return rc;
}

static const char *why(void)
{
    return vm_error_text();
}

Test(process, one_that_ends_makes_no_device)
{
    cr_assert_eq(refused("leave"), -ECHILD);
    cr_assert(strstr(why(), "door0: its process ended"), "%s", why());
}

Test(process, why_a_device_cannot_be_made_is_told_in_its_own_words_on_one_line)
{
    cr_assert_eq(refused("refuse"), -EBUSY);
    cr_assert_str_eq(why(), "door0: the?door is shut");
}

Test(process, a_shape_that_cannot_be_ends_it)
{
    static const char *const shapes[] = { "no-id", "no-queue", "no-size", "unknown", "half" };

    for (size_t i = 0; i < VM_ARRAY_SIZE(shapes); i++) {
        t.lines = 0;
        cr_expect_eq(refused(shapes[i]), -ECHILD, "%s", shapes[i]);
        cr_expect(mt_logged("door0: its process says what makes no sense"), "%s", shapes[i]);
    }
}

Test(process, it_gets_the_file_that_its_options_name)
{
    cr_assert_eq(refused("own-file"), -EEXIST, "%s", why());
    cr_assert_str_eq(why(), "door0: it is the file");
}

Test(process, it_gets_no_other_file)
{
    cr_assert_eq(refused("other-file"), -EACCES, "%s", why());
    cr_assert(mt_logged("asks for a name that it was not given"));
}

Test(process, what_it_cries_is_told_without_its_control_bytes)
{
    cr_assert_eq(refused("cry"), -ECHILD);
    cr_assert(mt_logged("door0: help?[2J"));
    cr_assert(mt_logged("door0: me"));
}

Test(process, nothing_is_left_of_one_that_failed)
{
    unsigned before;

    (void)refused("refuse");
    before = mt_fds();
    for (unsigned i = 0; i < 20; i++)
        (void)refused("refuse");
    cr_assert_eq(mt_fds(), before);
}

/* ---- those that serve ---- */

static struct vdev *make_honest(void)
{
    static struct vmm_machine_device device = { .cls = &door_class, .process = true };
    static char how[] = "honest";
    static struct door_config config = { .path = file, .play = how };

    device.config = &config;
    t.config.devices = &device;
    t.config.device_count = 1;
    t.config.ram.kind = GM_MEMFD;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0, "%s", vm_error_text());
    return vmm_machine_find(t.machine, "door0");
}

static uint64_t metric(const struct vdev *dev, const char *name)
{
    const struct vdev_metric *m = dev->cls->metrics;

    while (strcmp(m->name, name) != 0)
        m++;
    return __atomic_load_n((const uint64_t *)(const void *)((const char *)dev + m->offset),
                           __ATOMIC_RELAXED);
}

Test(process, one_that_dies_is_started_again_and_knows_what_was_set)
{
    struct vdev *dev = make_honest();

    cr_assert_eq(vmm_machine_set(t.machine, "door0", "value=7"), 0, "%s", vm_error_text());
    MT_UNTIL(mt_logged("door0: value=7"));
    for (uint64_t round = 2; round < 5; round++) {
        cr_assert_eq(vmm_machine_set(t.machine, "door0", "value=9"), 0, "%s", vm_error_text());
        MT_UNTIL(metric(dev, "connects") >= round);
        cr_assert_eq(vmm_machine_set(t.machine, "door0", "value=7"), 0, "%s", vm_error_text());
    }
    MT_UNTIL(mt_logged("door0: it begins with 9"));
    cr_assert_geq(metric(dev, "losses"), 1);
    cr_assert(mt_logged("door0: its process ended: exit code 1"));
    mt_finish();
}

Test(process, what_cannot_be_changed_is_not_sent)
{
    (void)make_honest();

    cr_assert_eq(vmm_machine_set(t.machine, "door0", "path=/x"), -ENOTSUP);
    cr_assert_eq(vmm_machine_set(t.machine, "door0", "value=x"), -EINVAL);
    mt_finish();
}

static void removed(void *ctx, int code)
{
    *(int *)ctx = code ? code : 1;
}

Test(process, it_is_taken_out_of_a_running_machine)
{
    int done = 0;

    (void)make_honest();
    cr_assert_eq(vmm_machine_remove(t.machine, "door0", removed, &done), 0, "%s", vm_error_text());
    MT_UNTIL(done);

    cr_assert_eq(done, 1);
    cr_assert_null(vmm_machine_find(t.machine, "door0"));
    mt_finish();
}

/* ---- messages ---- */

static int pair[2];

static void make_pair(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

TestSuite(channel, .init = make_pair);

Test(channel, a_message_and_its_fd_arrive)
{
    struct vmm_process_message m, got;
    int fd;

    vmm_process_message(&m, VMM_PROCESS_OPENED, -5, 7, "text");
    cr_assert_eq(vmm_process_send(pair[0], &m, STDERR_FILENO), 0);

    cr_assert_eq(vmm_process_receive(pair[1], &got, &fd), 0);

    cr_assert_eq(got.type, VMM_PROCESS_OPENED);
    cr_assert_eq(got.code, -5);
    cr_assert_eq(got.value, 7);
    cr_assert_str_eq(got.text, "text");
    cr_assert_geq(fd, 0);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

Test(channel, a_longer_text_is_cut)
{
    struct vmm_process_message m, got;
    char text[VMM_PROCESS_TEXT_MAX + 100];
    int fd;

    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    vmm_process_message(&m, VMM_PROCESS_LOG, 0, 0, text);
    cr_assert_eq(vmm_process_send(pair[0], &m, -1), 0);

    cr_assert_eq(vmm_process_receive(pair[1], &got, &fd), 0);

    cr_assert_eq(strlen(got.text), VMM_PROCESS_TEXT_MAX - 1);
    cr_assert_eq(fd, -1);
}

Test(channel, nothing_there_and_nobody_there_differ)
{
    struct vmm_process_message m;
    int fd;

    cr_assert_eq(vmm_process_receive(pair[1], &m, &fd), -EAGAIN);
    close(pair[0]);
    cr_assert_eq(vmm_process_receive(pair[1], &m, &fd), -ECONNRESET);
}

Test(channel, broken_messages_are_known_and_leave_no_fd)
{
    struct vmm_process_message m = { .type = VMM_PROCESS_LOG };
    unsigned before = mt_fds();
    int fd;

    memset(m.text, 'a', sizeof(m.text));
    for (size_t len = 0; len < 24; len++) {
        if (!len)
            continue; /* an end */
        cr_assert_eq(send(pair[0], &m, len, 0), (ssize_t)len);
        cr_expect_eq(vmm_process_receive(pair[1], &m, &fd), -EPROTO, "%zu bytes", len);
        m.type = VMM_PROCESS_LOG;
    }
    m.type = VMM_PROCESS_READY;
    cr_assert_eq(send(pair[0], &m, 100, 0), 100);
    cr_expect_eq(vmm_process_receive(pair[1], &m, &fd), -EPROTO);
    cr_expect_eq(mt_fds(), before);
}
