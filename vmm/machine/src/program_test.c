/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* program=: its text, and programs that cannot serve. One that does is run in tests/cli and tests/e2e. */
#include <fcntl.h>

#include "machine_test.h"
#include "program.h"

/* ---- the text ---- */

static struct program_words *words(const char *text)
{
    struct program_words *w = NULL;

    cr_assert_eq(vmm_program_words(text, &w), 0, "%s", vm_error_text());
    return w;
}

static void no_words(const char *text, const char *why)
{
    struct program_words *w;

    cr_expect_eq(vmm_program_words(text, &w), -EINVAL, "%s", text);
    cr_expect(strstr(vm_error_text(), why), "%s: %s", text, vm_error_text());
}

Test(program_words, they_are_split_at_blanks_and_end_with_null)
{
    struct program_words *w = words("  /bin/prog  --fd\t{fd}\n");

    cr_expect_eq(w->count, 3);
    cr_expect_str_eq(w->word[0], "/bin/prog");
    cr_expect_str_eq(w->word[1], "--fd");
    cr_expect_str_eq(w->word[2], "3");
    cr_expect_null(w->word[3]);
    cr_expect_not(w->listens);
    free(w);
}

Test(program_words, quotes_keep_blanks_and_go)
{
    struct program_words *w = words("p 'a b' -x=\"c 'd'\" {fd} ''");

    cr_expect_eq(w->count, 5);
    cr_expect_str_eq(w->word[1], "a b");
    cr_expect_str_eq(w->word[2], "-x=c 'd'");
    cr_expect_str_eq(w->word[4], "");
    free(w);
}

Test(program_words, a_socket_that_listens_is_told_by_its_placeholder)
{
    struct program_words *w = words("p addr.type=fd,addr.str={listen},a={listen} {other}");

    cr_expect(w->listens);
    cr_expect_str_eq(w->word[1], "addr.type=fd,addr.str=3,a=3");
    cr_expect_str_eq(w->word[2], "{other}");
    free(w);
}

Test(program_words, what_cannot_be_meant_is_refused_with_the_reason)
{
    no_words("", "names no program");
    no_words("  ", "names no program");
    no_words("p --fd 3", "{fd} for a connected one");
    no_words("p {fd} {listen}", "give one of them");
    no_words("p 'a {fd}", "a quote has no end");
    no_words("p{fd} x", "its first word");
}

Test(program_words, there_is_a_limit)
{
    char text[2 * VMM_PROGRAM_WORDS_MAX + 16] = "p {fd}";

    for (size_t i = 2; i < VMM_PROGRAM_WORDS_MAX; i++)
        strcat(text, " a");
    free(words(text));
    strcat(text, " b");

    no_words(text, "too many words");
}

/* ---- programs that cannot serve ---- */

static struct vmm_spawner *spawner;
static char dir[] = "/tmp/vmm-program-XXXXXX";

static void set_up(void)
{
    struct vmm_spawner_config config = { .env = &t.env, .foreign = true };

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator does not start programs by descriptor");
    mt_open(false);
    cr_assert_eq(vmm_spawner_start(&config, &spawner), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_ready(spawner, 10ULL * 1000000000ULL), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_attach(spawner, t.env.loop), 0);
    t.config.sandbox.programs = spawner;
    cr_assert(mkdtemp(dir));
    setenv("TMPDIR", dir, 1);
}

static void tear_down(void)
{
    vmm_spawner_free(spawner);
    rmdir(dir);
    hv_free(t.hv);
    close(t.config.kernel.fd);
    vm_loop_free(t.env.loop);
}
TestSuite(program, .init = set_up, .fini = tear_down, .timeout = TEST_TIMEOUT);

/* The machine cannot be made: its code. */
static int refused(const char *options)
{
    const struct vdev_class *cls = vdev_class_find("vhost-user", strlen("vhost-user"));
    static struct vmm_machine_device device;
    void *config = calloc(1, cls->config_size);
    int rc;

    cr_assert_eq(vm_prop_defaults(cls->props, config), 0);
    cr_assert_eq(vm_prop_parse(cls->props, config, "test", NULL, options), 0, "%s",
                 vm_error_text());
    device = (struct vmm_machine_device){ .cls = cls, .config = config };
    t.config.devices = &device;
    t.config.device_count = 1;
    rc = vmm_machine_new(&t.config, &t.machine);
    cr_assert_neq(rc, 0, "a machine was made");
    vm_prop_free(cls->props, config);
    free(config);
    return rc;
}

static bool told(const char *what)
{
    return strstr(vm_error_text(), what);
}

Test(program, one_that_ends_at_once_is_told_with_its_end_and_its_last_words)
{
    int rc = refused("type=rng,program=\"/bin/sh -c 'echo bad option >&2; exit 3' {fd}\"");

    cr_expect(rc == -ECONNRESET || rc == -EPIPE,
              "%d: its socket is closed, before or after we greet it", rc);
    cr_expect(told("vhost-user0: /bin/sh: exit code 3 before it served"), "%s", vm_error_text());
    cr_expect(mt_logged("vhost-user0: bad option"));
}

Test(program, one_that_does_not_accept_is_told_likewise)
{
    cr_expect_neq(refused("type=rng,program=\"/bin/sh -c 'exit 0' {listen}\""), 0);

    cr_expect(told("/bin/sh: exit code 0 before it served"), "%s", vm_error_text());
    cr_expect_eq(rmdir(dir), 0, "a socket is left behind");
}

Test(program, one_that_says_nothing_is_waited_for_and_not_longer)
{
    cr_expect_eq(refused("type=rng,wait=1,program=\"/bin/sleep 100 {fd}\""), -ETIMEDOUT);

    cr_expect(told("/bin/sleep does not answer on its socket"), "%s", vm_error_text());
}

Test(program, a_file_that_is_not_there_is_told)
{
    cr_expect_eq(refused("type=rng,program=\"/nonexistent/x {fd}\""), -ENOENT);
    cr_expect(told("program /nonexistent/x: No such file"), "%s", vm_error_text());
    cr_expect_eq(refused("type=rng,program=\"no-such-program {fd}\""), -ENOENT);
    cr_expect(told("in PATH"), "%s", vm_error_text());
}

Test(program, a_script_needs_its_interpreter)
{
    char path[64], options[128];
    int fd;

    snprintf(path, sizeof(path), "%s/script", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    cr_assert_eq(write(fd, "#!/bin/sh\n", 10), 10);
    close(fd);
    snprintf(options, sizeof(options), "type=rng,program=\"%s {fd}\"", path);

    cr_expect_eq(refused(options), -ENOEXEC);

    cr_expect(told("it is a script"), "%s", vm_error_text());
    unlink(path);
}

Test(program, without_a_spawner_there_is_none)
{
    t.config.sandbox.programs = NULL;

    cr_expect_eq(refused("type=rng,program=\"/bin/true {fd}\""), -EINVAL);

    cr_expect(told("there is no spawner"), "%s", vm_error_text());
}
