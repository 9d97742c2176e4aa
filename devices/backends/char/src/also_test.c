/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Several sinks as one back end. */
#include "char_test.h"

#include <sys/un.h>

static int tells;
static uint64_t also_dropped, dropped;

static void on_connected(void *ctx)
{
    (void)ctx;
    tells++;
}

static void on_also_dropped(void *ctx, uint64_t count)
{
    (void)ctx;
    also_dropped += count;
}

static void on_dropped(void *ctx, bool input, uint64_t count)
{
    (void)ctx;
    dropped += input ? 0 : count;
}

static const struct vchar_ops ops = { .input = bench_input,
                                      .escape = bench_escape,
                                      .drained = bench_drained,
                                      .dropped = on_dropped,
                                      .also_dropped = on_also_dropped,
                                      .connected = on_connected };

static void setup(void)
{
    bench_setup(VM_LOOP_VIRTUAL);
    tells = 0;
    also_dropped = dropped = 0;
}

TestSuite(vchar_also, .init = setup, .fini = bench_teardown, .timeout = TEST_TIMEOUT);

static char at[8][128];

/* A name in the bench's folder that stays: "file", "socket", "fifo", "link". */
static char *named(const char *name)
{
    static unsigned n;
    char *place = at[n++ % VM_ARRAY_SIZE(at)];

    strcpy(place, in_dir(name));
    return place;
}

static int open_with(struct vchar_config *config, struct vchar_config *also, uint32_t count)
{
    config->also = (struct vm_prop_list){ also, count };
    return vchar_new(&b.env, "serial0", config, &ops, &b, &b.chr);
}

static int client(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(addr.sun_path, in_dir("socket"), strlen(in_dir("socket")));
    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    run_ms(5);
    return fd;
}

static void expect(int fd, const char *text)
{
    uint8_t data[100];

    cr_assert_eq(read_all(fd, data, strlen(text)), strlen(text));
    cr_assert_eq(memcmp(data, text, strlen(text)), 0);
}

static void open_file_and_socket(void)
{
    struct vchar_config c = { .mode = VCHAR_FILE, .file = named("file") };
    struct vchar_config also = { .socket = named("socket") };

    cr_assert_eq(open_with(&c, &also, 1), 0, "%s", vm_error_text());
}

static int open_pty_user(const struct vchar *sink)
{
    int fd = open(sink->pty, O_RDWR | O_NOCTTY | O_CLOEXEC);

    cr_assert_geq(fd, 0);
    run_ms(300);
    return fd;
}

Test(vchar_also, output_goes_to_every_sink)
{
    struct vchar_config c = { .mode = VCHAR_FILE, .file = named("file") };
    struct vchar_config also[2] = { { .socket = named("socket") }, { .mode = VCHAR_PTY } };
    char text[16] = "";
    int sock, pty;
    cr_assert_eq(open_with(&c, also, 2), 0, "%s", vm_error_text());
    sock = client();
    pty = open_pty_user(b.chr->next->next);

    say("h", true);
    say("ello", true);
    run_ms(5);

    expect(sock, "hello");
    expect(pty, "hello");
    close(sock);
    sock = open(in_dir("file"), O_RDONLY | O_CLOEXEC);
    cr_assert_eq(read(sock, text, sizeof(text)), 5);
    cr_assert_str_eq(text, "hello");
    close(sock);
    close(pty);
}

Test(vchar_also, input_comes_from_any_of_them)
{
    struct vchar_config c = { .mode = VCHAR_PTY };
    struct vchar_config also = { .socket = named("socket") };
    int pty, sock;
    cr_assert_eq(open_with(&c, &also, 1), 0, "%s", vm_error_text());
    pty = open_pty_user(b.chr);
    sock = client();

    cr_assert_eq(write(pty, "a", 1), 1);
    for (int i = 0; i < 1000 && !b.got_len; i++) {
        poll(&(struct pollfd){ .fd = b.chr->own_fd, .events = POLLIN }, 1, 10);
        run_ms(5);
    }
    cr_assert_eq(send(sock, "b", 1, 0), 1);
    run_ms(5);

    cr_assert_eq(b.got_len, 2);
    cr_assert_eq(memcmp(b.got, "ab", 2), 0);
    close(pty);
    close(sock);
}

Test(vchar_also, input_of_a_further_sink_waits_for_the_owner)
{
    int sock;
    open_file_and_socket();
    b.room = 1;
    sock = client();
    cr_assert_eq(send(sock, "xyz", 3, 0), 3);
    run_ms(5);
    cr_assert_eq(b.got_len, 1);

    b.room = 10;
    vchar_ready(b.chr);
    run_ms(5);

    cr_assert_eq(b.got_len, 3);
    close(sock);
}

Test(vchar_also, escape_key_works_at_a_further_terminal)
{
    struct vchar_config c = { .mode = VCHAR_NULL };
    struct vchar_config also = { .mode = VCHAR_PTY };
    int pty;
    cr_assert_eq(open_with(&c, &also, 1), 0);
    pty = open_pty_user(b.chr->next);

    cr_assert_eq(write(pty, "\001x", 2), 2);
    for (int i = 0; i < 1000 && !b.escapes; i++) {
        poll(&(struct pollfd){ .fd = b.chr->next->own_fd, .events = POLLIN }, 1, 10);
        run_ms(5);
    }

    cr_assert_eq(b.escapes, 1);
    cr_assert_eq(b.key, 'x');
    close(pty);
}

Test(vchar_also, late_client_of_a_further_sink_gets_the_newest_bytes)
{
    static uint8_t data[1 << 20];
    size_t left;
    int fd;
    open_file_and_socket();
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(say_pattern((uint64_t)i * 5000, 5000, true), 5000);
        run_ms(2);
    }
    left = 500000 - vchar_also_dropped(b.chr);

    fd = client();

    cr_assert_geq(left, KEEP_BYTES);
    cr_assert_eq(read_all(fd, data, left), left);
    cr_assert(holds_pattern(data, left, 500000 - left));
    cr_assert_eq(file_bytes(in_dir("file")), 500000);
    close(fd);
}

Test(vchar_also, sink_that_does_not_read_holds_up_neither_owner_nor_file)
{
    size_t taken = 0;
    int fd;
    open_file_and_socket();
    fd = client();

    for (int i = 0; i < 200; i++) {
        taken += say_pattern(taken, 10000, false);
        run_ms(5);
    }
    run_ms(5);

    cr_assert_eq(taken, 2000000);
    cr_assert_eq(file_bytes(in_dir("file")), taken);
    cr_assert_eq(vchar_dropped(b.chr), 0);
    cr_assert_eq(dropped, 0);
    cr_assert_gt(vchar_also_dropped(b.chr), 0);
    cr_assert_eq(vchar_also_dropped(b.chr), also_dropped);
    close(fd);
}

Test(vchar_also, further_sinks_get_each_byte_once_when_the_first_one_is_full)
{
    static uint8_t data[1 << 20];
    struct vchar_config c = { .mode = VCHAR_TTY };
    struct vchar_config also = { .mode = VCHAR_FILE, .file = named("file") };
    size_t taken = 0, n;
    int screen = stdio_pipe(), fd;
    cr_assert_eq(open_with(&c, &also, 1), 0, "%s", vm_error_text());
    do {
        n = say_pattern(taken, 10000, false);
        taken += n;
        run_ms(5);
    } while (n == 10000);
    cr_assert_neq(n % 1000, 0, "a piece was cut");

    cr_assert_eq(read_all(screen, data, taken), taken);
    taken += say_pattern(taken, 10000, false);
    run_ms(5);

    fd = open(in_dir("file"), O_RDONLY | O_CLOEXEC);
    cr_assert_eq(read(fd, data, sizeof(data)), (ssize_t)taken);
    cr_assert(holds_pattern(data, taken, 0));
    close(fd);
    close(screen);
}

Test(vchar_also, dead_reader_of_the_first_sink_leaves_the_others)
{
    struct vchar_config c = { .mode = VCHAR_TTY };
    struct vchar_config also = { .mode = VCHAR_FILE, .file = named("file") };
    int screen = stdio_pipe();
    cr_assert_eq(open_with(&c, &also, 1), 0);
    close(screen);

    say("one", true);
    run_ms(5);
    say("two", true);
    run_ms(5);

    cr_assert_eq(file_bytes(in_dir("file")), 6);
}

Test(vchar_also, flush_writes_every_file)
{
    struct vchar_config c = { .mode = VCHAR_NULL };
    struct vchar_config also = { .mode = VCHAR_FILE, .file = named("file") };
    cr_assert_eq(open_with(&c, &also, 1), 0);
    say("x", true);

    vchar_flush(b.chr);

    cr_assert_eq(file_bytes(in_dir("file")), 1);
}

/* ---- who is there ---- */

Test(vchar_also, owner_is_told_when_somebody_comes_and_goes)
{
    struct vchar_config c = { .mode = VCHAR_SOCKET, .socket = named("socket") };
    int fd;
    cr_assert_eq(open_with(&c, NULL, 0), 0);
    run_ms(5);
    cr_assert_not(vchar_connected(b.chr));
    cr_assert_eq(tells, 0);

    fd = client();
    cr_assert(vchar_connected(b.chr));
    cr_assert_eq(tells, 1);
    close(fd);
    run_ms(5);

    cr_assert_not(vchar_connected(b.chr));
    cr_assert_eq(tells, 2);
}

Test(vchar_also, client_of_a_further_sink_counts)
{
    struct vchar_config c = { .mode = VCHAR_PTY };
    struct vchar_config also = { .socket = named("socket") };
    int fd;
    cr_assert_eq(open_with(&c, &also, 1), 0);
    cr_assert_not(vchar_connected(b.chr));

    fd = client();

    cr_assert(vchar_connected(b.chr));
    cr_assert_eq(tells, 1);
    close(fd);
}

Test(vchar_also, file_and_null_are_always_there)
{
    struct vchar_config c = { .mode = VCHAR_NULL };
    cr_assert_eq(open_with(&c, NULL, 0), 0);
    cr_assert(vchar_connected(b.chr));
    close_chr();

    c = (struct vchar_config){ .mode = VCHAR_FILE, .file = named("file") };
    cr_assert_eq(open_with(&c, NULL, 0), 0);
    cr_assert(vchar_connected(b.chr));
    close_chr();

    c = (struct vchar_config){ .mode = VCHAR_OFF };
    cr_assert_eq(open_with(&c, NULL, 0), 0);
    cr_assert_not(vchar_connected(b.chr));
}

/* ---- configurations ---- */

static char x[] = "/x", y[] = "/y";

Test(vchar_also, mistakes_are_one_line_each)
{
    static const struct {
        struct vchar_config c, also[2];
        uint32_t count;
        const char *error;
    } rows[] = {
        { { .mode = VCHAR_TTY },
          { { .mode = VCHAR_TTY } },
          1,
          "also[0]: mode=tty is there already: only one of them can be the terminal" },
        { { .file = x },
          { { .mode = VCHAR_PTY }, { .socket = x } },
          2,
          "also[1]: /x is there already: give one of them another path" },
        { { .mode = VCHAR_TTY },
          { { .file = x }, { .file = x } },
          2,
          "also[1]: /x is there already: give one of them another path" },
        { { .mode = VCHAR_TTY },
          { { .keep = true } },
          1,
          "also[0]: append=on is for file=PATH: give that, or leave it out" },
        { { .mode = VCHAR_TTY },
          { { .mode = VCHAR_NULL } },
          1,
          "also[0]: it goes nowhere: give mode=tty, mode=pty, file=PATH or socket=PATH" },
        { { .mode = VCHAR_TTY },
          { { 0 } },
          1,
          "also[0]: it goes nowhere: give mode=tty, mode=pty, file=PATH or socket=PATH" },
        { { .mode = VCHAR_TTY },
          { { .file = x, .socket = y } },
          1,
          "also[0]: file=/x and socket=/y: it can be one of them; leave the other out" },
        { { .mode = VCHAR_OFF },
          { { .file = x } },
          1,
          "also= is for what goes elsewhere, too: give mode=, file=PATH or socket=PATH, or leave "
          "it out" },
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(rows); i++) {
        struct vchar_config c = rows[i].c;

        c.also = (struct vm_prop_list){ (void *)(uintptr_t)rows[i].also, rows[i].count };
        cr_assert_eq(vchar_check(&c), -EINVAL, "%zu", i);
        cr_expect_str_eq(vm_error_text(), rows[i].error);
    }
}

Test(vchar_also, sink_that_cannot_be_opened_is_named_and_the_others_are_closed)
{
    struct vchar_config c = { .socket = named("socket") };
    struct vchar_config also[2] = { { .file = named("file") }, { .file = x } };
    char nowhere[] = "/nonexistent/file";
    also[1].file = nowhere;

    cr_assert_eq(open_with(&c, also, 2), -ENOENT);

    cr_assert_eq(strncmp(vm_error_text(), "serial0: also[1]: ", 18), 0, "%s", vm_error_text());
    cr_assert_eq(access(in_dir("socket"), F_OK), -1);
}

Test(vchar_also, modes_of_all_sinks_are_known)
{
    struct vchar_config also = { .mode = VCHAR_PTY };
    struct vchar_config c = { .file = x, .also = { &also, 1 } };

    cr_assert(vchar_uses(&c, VCHAR_FILE));
    cr_assert(vchar_uses(&c, VCHAR_PTY));
    cr_assert_not(vchar_uses(&c, VCHAR_TTY));
}

Test(vchar_also, muted_configuration_names_nothing)
{
    struct {
        struct vchar_config chr;
    } c;
    static const struct vm_prop rows[] = { VCHAR_PROPS(typeof(c), chr), { 0 } };
    cr_assert_eq(vm_prop_defaults(rows, &c), 0);
    cr_assert_eq(vm_prop_parse(rows, &c, "x", NULL, "file=/x,also=[[socket=/y],[mode=pty]]"), 0,
                 "%s", vm_error_text());
    cr_assert_eq(c.chr.also.count, 2);

    vchar_config_mute(&c.chr);

    cr_assert_eq(c.chr.mode, VCHAR_NULL);
    cr_assert_null(c.chr.file);
    cr_assert_eq(c.chr.also.count, 0);
    cr_assert_eq(vchar_check(&c.chr), 0);
}

/* ---- input of several ---- */

static size_t room, from_a, from_b;

static size_t count_input(void *ctx, const uint8_t *data, size_t len)
{
    size_t n = len < room ? len : room;

    (void)ctx;
    for (size_t i = 0; i < n; i++)
        *(data[i] == 'a' ? &from_a : &from_b) += 1;
    room -= n;
    return n;
}

static const struct vchar_ops count_ops = { .input = count_input };

static int client_of(const char *name)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", name);
    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

Test(vchar_also, flood_of_one_leaves_the_others_their_turn)
{
    struct vchar_config c = { .socket = named("socket") }, also = { .socket = named("link") };
    uint8_t flood[4096];
    int loud, quiet;

    c.also = (struct vm_prop_list){ .items = &also, .count = 1 };
    cr_assert_eq(vchar_new(&b.env, "serial0", &c, &count_ops, &b, &b.chr), 0, "%s",
                 vm_error_text());
    loud = client_of(c.socket);
    quiet = client_of(also.socket);
    run_ms(5);
    memset(flood, 'a', sizeof(flood));
    for (int i = 0; i < 200; i++)
        (void)!write(loud, flood, sizeof(flood));
    cr_assert_eq(write(quiet, "b", 1), 1);
    run_ms(5);

    for (int i = 0; i < 100; i++) {
        (void)!write(loud, flood, sizeof(flood));
        room = 256;
        vchar_ready(b.chr);
        run_ms(1);
    }

    cr_assert_eq(from_b, 1, "%zu of the other", from_a);
    close(loud);
    close(quiet);
}

Test(vchar_also, paths_are_the_same_by_what_they_mean)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        { "a", "a", true },           { "a", "./a", true },          { "a", "b/../a", true },
        { "/a/b", "/a//b", true },    { "/a/b", "/a/c/../b", true }, { "/a/b", "/a/./b/", true },
        { "/a", "a", false },         { "a", "b", false },           { "../a", "a", false },
        { "../../a", "../a", false }, { "../../a", "a", false },     { "../a", "./../a", true },
        { "/a/b", "/ab", false },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(vchar_same_path(rows[i].a, rows[i].b), rows[i].same, "%s and %s", rows[i].a,
                     rows[i].b);
}
