/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the machine does with processes that are not what they should be. Those that are run in tests/payload and tests/e2e. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
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

static char file[] = "/tmp/vmm-door-XXXXXX";

/* ---- the process: plays what its options say ---- */

static void tell(enum vmm_process_type type, int code, uint32_t value, const char *text)
{
    struct vmm_process_message m;

    vmm_process_message(&m, type, code, value, text);
    (void)vmm_process_send(VMM_PROCESS_FD_CHANNEL, &m, -1);
}

/* The fd, or -1: then the VMM was told. */
static int ask(const char *name)
{
    struct pollfd p = { .fd = VMM_PROCESS_FD_CHANNEL, .events = POLLIN };
    struct vmm_process_message m;
    int fd;

    tell(VMM_PROCESS_OPEN, 0, VM_OPEN_READ, name);
    (void)poll(&p, 1, -1);
    if (vmm_process_receive(VMM_PROCESS_FD_CHANNEL, &m, &fd) || m.type != VMM_PROCESS_OPENED)
        tell(VMM_PROCESS_FAILED, -EPROTO, 0, "no answer");
    else if (m.code)
        tell(VMM_PROCESS_FAILED, m.code, 0, m.text);
    return fd;
}

static void ask_for(const char *name)
{
    int fd = ask(name);
    char byte = '?';

    if (fd >= 0 && read(fd, &byte, 1) == 1 && byte == 'x')
        tell(VMM_PROCESS_FAILED, -EEXIST, 0, "it is the file");
}

/* Its next byte, in the log. */
static void read_on(const char *name)
{
    char text[] = "read ?";
    int fd = ask(name);

    (void)!read(fd, text + 5, 1);
    tell(VMM_PROCESS_LOG, 0, VM_LOG_WARN, text);
}

static void ready(uint32_t id, uint32_t queues, const struct vmm_jail_result *jail)
{
    struct vmm_process_message m = { .type = VMM_PROCESS_READY };

    if (jail)
        m.ready.jail = *jail;
    m.ready.shape.id = id;
    m.ready.shape.queues = queues;
    m.ready.shape.queue_size[0] = 16;
    (void)vmm_process_send(VMM_PROCESS_FD_CHANNEL, &m, -1);
}

static void stay(void)
{
    struct pollfd p = { .fd = VMM_PROCESS_FD_CHANNEL, .events = 0 };

    (void)poll(&p, 1, -1); /* until the VMM is gone */
}

static void answer(const struct vmm_process_message *question)
{
    bool refused = !strcmp(question->text, "value=3");

    tell(VMM_PROCESS_SET_DONE, refused ? -ERANGE : 0, question->value,
         refused ? "three\nis not for doors" : "");
}

/* An honest one, until its value is set to what its words below say; 9: it dies; 4: it does not answer. */
static void on_set(struct vm_watch *watch, uint32_t events)
{
    struct vmm_process_message m;
    int fd;

    (void)events;
    if (vmm_process_receive(watch->fd, &m, &fd) || !strcmp(m.text, "value=9"))
        _exit(1);
    if (!strcmp(m.text, "value=8")) {
        vm_watch_del(watch);
        close(VMM_PROCESS_FD_CHANNEL);
        return;
    }
    if (!strcmp(m.text, "value=6"))
        tell(VMM_PROCESS_OPEN, 0, VM_OPEN_READ, file);
    if (!strcmp(m.text, "value=5"))
        tell(VMM_PROCESS_LOG, 0, VM_LOG_ERROR, "door01: burns");
    if (!strcmp(m.text, "value=2"))
        tell(VMM_PROCESS_SET_DONE, 0, m.value + 1, "");
    tell(VMM_PROCESS_LOG, 0, VM_LOG_WARN, m.text);
    if (strcmp(m.text, "value=4") != 0)
        answer(&m);
}

static void closed(void *ctx, const struct vm_error *why)
{
    (void)ctx;
    (void)why;
    _exit(0);
}

static const struct vmm_jail_result lacking = {
    .refused = 1u << VMM_JAIL_LANDLOCK | 1u << VMM_JAIL_UNDUMPABLE | 1u << VMM_JAIL_LIMITS,
    .why[VMM_JAIL_LANDLOCK] = "this kernel\ndoes not have it",
    .why[VMM_JAIL_UNDUMPABLE] = "the host refuses it",
    .why[VMM_JAIL_LIMITS] = "the host refuses it",
};

static void serve_honestly(const struct vmm_jail_result *jail)
{
    static const struct vhost_backend_ops ops = { .closed = closed };
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
    ready(VIRTIO_ID_RNG, 1, jail);
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

    if (strstr(text, "path=\""))
        (void)sscanf(strstr(text, "path=\""), "path=\"%127[^\"]", path);
    if (plays(text, "level"))
        tell(VMM_PROCESS_FAILED, -EEXIST, 0, argv[argc - 1]);
    if (plays(text, "refuse"))
        tell(VMM_PROCESS_FAILED, -EBUSY, 0, "the\ndoor is shut");
    if (plays(text, "no-id"))
        ready(0, 1, NULL);
    if (plays(text, "no-queue"))
        ready(4, 0, NULL);
    if (plays(text, "no-size"))
        ready(4, 2, NULL);
    if (plays(text, "unknown"))
        tell((enum vmm_process_type)77, 0, 0, "");
    if (plays(text, "half"))
        (void)!send(VMM_PROCESS_FD_CHANNEL, "half", 4, 0);
    if (plays(text, "honest-reader"))
        read_on(path);
    if (plays(text, "value=7"))
        tell(VMM_PROCESS_LOG, 0, VM_LOG_WARN, "it begins with 7");
    if (plays(text, "honest"))
        serve_honestly(plays(text, "honest-lacking") ? &lacking : NULL);
    if (plays(text, "own-file"))
        ask_for(path);
    if (plays(text, "other-file"))
        ask_for("/etc/passwd");
    if (plays(text, "die"))
        _exit(7);
    if (plays(text, "cry")) {
        (void)!write(STDERR_FILENO, "help\x1b[2J\nme", 11);
        _exit(0); /* counters of a coverage build would cry, too, that they cannot be written */
    }
    if (!plays(text, "leave"))
        stay();
    return 0;
}

/* ---- the machine ---- */

static struct vmm_spawner *spawner;

static void set_up(void)
{
    struct vmm_spawner_config config = { .env = &t.env, .entry = play };
    struct vm_env host;
    int fd;

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator makes no jails");
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

TestSuite(process, .init = set_up, .fini = tear_down, .timeout = TEST_TIMEOUT);

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

Test(process, it_is_told_what_the_log_takes)
{
    t.config.log_level = VM_LOG_DEBUG;

    cr_assert_eq(refused("level"), -EEXIST, "%s", why());
    cr_assert_str_eq(why(), "door0: debug");
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

Test(process, more_of_them_are_made_than_the_spawner_could_tell_if_nobody_heard_it)
{
    for (unsigned i = 0; i < 300; i++)
        cr_assert_eq(refused("refuse"), -EBUSY, "%u: %s", i, why());
}

Test(process, how_one_ended_is_said_where_it_makes_no_device)
{
    cr_assert_eq(refused("die"), -ECHILD);
    cr_assert_str_eq(why(), "door0: its process ended: exit code 7");
}

static void start_spawner_with(int what, rlim_t limit)
{
    struct vmm_spawner_config config = { .env = &t.env, .entry = play };
    struct rlimit both = { limit, limit };

    vmm_spawner_free(spawner);
    cr_assert_eq(setrlimit(what, &both), 0);
    cr_assert_eq(vmm_spawner_start(&config, &spawner), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_ready(spawner, WAIT_NS), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_attach(spawner, t.env.loop), 0);
    t.config.sandbox.spawner = spawner;
}

Test(process, why_one_cannot_be_started_is_the_machines_error_and_its_code)
{
    static const rlim_t limits[] = { 260, 200, 100, 60 };

    for (size_t i = 0; i < VM_ARRAY_SIZE(limits); i++) {
        start_spawner_with(RLIMIT_NOFILE, limits[i]);

        cr_expect_eq(refused("refuse"), -EMFILE, "%s", why());
        cr_expect(strstr(why(), "door0: its process did not start: "), "%s", why());
        cr_expect(strstr(why(), "open files"), "%s", why());
    }
}

/* ---- those that serve ---- */

static struct vdev *make_serving(const char *how)
{
    static struct vmm_machine_device device = { .cls = &door_class, .process = true };
    static struct door_config config = { .path = file };

    config.play = (char *)(uintptr_t)how;
    device.config = &config;
    t.config.devices = &device;
    t.config.device_count = 1;
    t.config.ram.kind = GM_MEMFD;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0, "%s", vm_error_text());
    return vmm_machine_find(t.machine, "door0");
}

static struct vdev *make_honest(void)
{
    return make_serving("honest");
}

static uint64_t metric(const struct vdev *dev, const char *name)
{
    const struct vdev_metric *m = dev->cls->metrics;

    while (strcmp(m->name, name) != 0)
        m++;
    return __atomic_load_n((const uint64_t *)(const void *)((const char *)dev + m->offset),
                           __ATOMIC_RELAXED);
}

static void note_set(void *ctx, int code)
{
    *(int *)ctx = code ? code : 1;
}

/* What became of it. */
static int set(const char *key_value)
{
    int done = 0, rc = vmm_machine_set(t.machine, "door0", key_value, note_set, &done);

    cr_assert_eq(rc, -EINPROGRESS, "%d: %s", rc, vm_error_text());
    MT_UNTIL(done);
    return done == 1 ? 0 : done;
}

Test(process, one_that_dies_is_started_again_and_knows_what_was_set)
{
    struct vdev *dev = make_honest();

    cr_assert_eq(set("value=7"), 0, "%s", vm_error_text());
    cr_assert(mt_logged("door0: value=7"));
    for (uint64_t round = 2; round < 5; round++) {
        cr_assert_eq(set("value=9"), -ECHILD);
        cr_assert_str_eq(why(), "door0: its process ended before it had changed value");
        MT_UNTIL(metric(dev, "connects") >= round);
    }
    MT_UNTIL(mt_logged("door0: it begins with 7"));
    cr_assert_geq(metric(dev, "losses"), 1);
    cr_assert(mt_logged("door0: its process ended: exit code 1"));
    mt_finish();
}

Test(process, what_a_process_refuses_is_the_answer_and_the_next_one_does_not_begin_with_it)
{
    struct vdev *dev = make_honest();

    cr_assert_eq(set("value=7"), 0, "%s", vm_error_text());
    cr_assert_eq(set("value=3"), -ERANGE);
    cr_assert_str_eq(why(), "three?is not for doors");
    cr_assert_eq(set("value=9"), -ECHILD);

    MT_UNTIL(metric(dev, "connects") >= 2);
    MT_UNTIL(mt_logged("door0: it begins with 7"));
    mt_finish();
}

Test(process, what_is_set_while_none_serves_is_told_to_the_next_one)
{
    struct vdev *dev = make_honest();
    int done[3] = { 0 };

    cr_assert_eq(vmm_machine_set(t.machine, "door0", "value=9", note_set, &done[0]), -EINPROGRESS);
    cr_assert_eq(vmm_machine_set(t.machine, "door0", "value=7", note_set, &done[1]), -EINPROGRESS);
    cr_assert_eq(vmm_machine_set(t.machine, "door0", "value=3", note_set, &done[2]), -EINPROGRESS);
    MT_UNTIL(done[2]);

    cr_assert_eq(done[0], -ECHILD);
    cr_assert_eq(done[1], 1);
    cr_assert_eq(done[2], -ERANGE);
    cr_assert_geq(metric(dev, "losses"), 1);
    mt_finish();
}

Test(process, one_that_answers_another_question_is_replaced)
{
    (void)make_honest();

    cr_assert_eq(set("value=2"), -ECHILD);
    cr_assert(mt_logged("door0: its process answers what it was not asked"));
    mt_finish();
}

Test(process, one_that_does_not_answer_is_replaced)
{
    struct vdev *dev = make_honest();

    cr_assert_eq(set("value=4"), -ETIMEDOUT);
    cr_assert_str_eq(why(), "door0: its process did not change value in 10 s: it is replaced");
    cr_assert_eq(set("value=7"), 0, "%s", why());
    cr_assert_geq(metric(dev, "losses"), 1);
    mt_finish();
}

Test(process, more_changes_than_wait_are_refused_and_the_end_of_the_machine_answers_them)
{
    int done[17] = { 0 }, rc;

    (void)make_honest();
    cr_assert_eq(vmm_machine_set(t.machine, "door0", "value=4", note_set, &done[0]), -EINPROGRESS);
    for (unsigned i = 1; i < 16; i++)
        (void)vmm_machine_set(t.machine, "door0", "value=7", note_set, &done[i]);

    rc = vmm_machine_set(t.machine, "door0", "value=7", note_set, &done[16]);
    mt_finish();

    cr_assert_eq(rc, -EBUSY);
    for (unsigned i = 0; i < 16; i++)
        cr_expect_eq(done[i], -ESHUTDOWN, "%u: %d", i, done[i]);
    cr_assert_eq(done[16], 0);
}

static unsigned logged(const char *line)
{
    unsigned n = 0;

    pthread_mutex_lock(&t.log_lock);
    for (unsigned i = 0; i < t.lines && i < MT_LOG; i++)
        n += !strcmp(t.log[i], line);
    pthread_mutex_unlock(&t.log_lock);
    return n;
}

static char lacks[256];
static void note_lack(void *ctx, const char *stage, const char *why)
{
    size_t at = strlen(lacks);

    if (*(const unsigned *)ctx & 1u) /* what the spawner has is the host's */
        snprintf(lacks + at, sizeof(lacks) - at, "%s: %s; ", stage, why);
}

Test(process, what_its_jail_lacks_is_shown)
{
    struct vdev *dev = make_serving("honest-lacking");
    const struct vmm_jail_result *outer = vmm_spawner_result(spawner);
    unsigned sound = !outer->refused;

    cr_assert(vmm_machine_jail_lacks(t.machine, dev, note_lack, &sound));

    if (sound)
        cr_expect_str_eq(lacks,
                         "resource limits: the host refuses it; not dumpable: the host refuses it; "
                         "Landlock: this kernel?does not have it; ");
    mt_finish();
}

Test(process, what_its_jail_lacks_is_told_once_by_reason)
{
    struct vdev *dev = make_serving("honest-lacking");

    cr_assert_eq(set("value=9"), -ECHILD);
    MT_UNTIL(metric(dev, "connects") >= 2);

    cr_assert_eq(set("value=7"), 0, "%s", why());
    cr_expect_eq(logged("door0: the jail lacks: Landlock (this kernel?does not have it)"), 1);
    cr_expect_eq(
        logged("door0: the jail lacks: resource limits, not dumpable (the host refuses it)"), 1);
    mt_finish();
}

Test(process, the_next_one_goes_on_with_the_same_open_file_whatever_became_of_its_name)
{
    int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);

    cr_assert_eq(write(fd, "ab", 2), 2);
    close(fd);
    (void)make_serving("honest-reader");
    MT_UNTIL(mt_logged("door0: read a"));
    cr_assert_eq(unlink(file), 0);

    cr_assert_eq(set("value=9"), -ECHILD);

    MT_UNTIL(mt_logged("door0: read b"));
    mt_finish();
}

/* It is set to what makes it misbehave. */
static struct vdev *make_honest_then(const char *value)
{
    struct vdev *dev = make_honest();

    MT_UNTIL(metric(dev, "connects") >= 1);
    cr_assert_eq(vmm_machine_set(t.machine, "door0", value, NULL, NULL), -EINPROGRESS);
    return dev;
}

Test(process, one_that_closes_its_channel_alone_is_replaced)
{
    struct vdev *dev = make_honest_then("value=8");

    MT_UNTIL(metric(dev, "losses") >= 1);
    mt_finish();
}

Test(process, one_that_asks_for_names_when_it_serves_is_replaced)
{
    struct vdev *dev = make_honest_then("value=6");

    MT_UNTIL(metric(dev, "losses") >= 1);
    cr_assert(mt_logged("door0: its process asks for a name when its device is made"));
    mt_finish();
}

Test(process, a_line_of_one_never_looks_like_anothers)
{
    (void)make_honest_then("value=5");

    MT_UNTIL(mt_logged("door0: door01: burns"));
    mt_finish();
}

Test(process, what_cannot_be_changed_is_not_sent)
{
    (void)make_honest();

    cr_assert_eq(vmm_machine_set(t.machine, "door0", "path=/x", NULL, NULL), -ENOTSUP);
    cr_assert_eq(vmm_machine_set(t.machine, "door0", "value=x", NULL, NULL), -EINVAL);
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
