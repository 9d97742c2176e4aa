/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The balloon, from the user's side; the guest has no driver. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "cli.h"

static struct cli_result r;
static pid_t machine;

static void start(const char *balloon)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    machine = balloon ? CLI_START("run", "-s", "sock", "--balloon", balloon, "k")
                      : CLI_START("run", "-s", "sock", "k");
    cr_assert(!cli_wait_for("sock"));
}

static void end(void)
{
    if (machine > 0)
        cli_stop(machine, "sock");
    cli_end();
}
TestSuite(balloon, .init = cli_begin, .fini = end, .timeout = TEST_TIMEOUT);

Test(balloon, another_size_is_told_at_once)
{
    start("64");

    CLI(&r, "balloon", "sock", "128M");
    cr_assert_eq(r.code, 0, "%s", r.err);
    cr_assert_eq(r.out_len, 0);
    CLI(&r, "balloon", "sock", "--json");

    cr_assert_eq(r.code, 0, "%s", r.err);
    cr_assert(strstr(r.out, "\"id\": \"virtio-balloon0\""), "%s", r.out);
    cr_assert(strstr(r.out, "\"target\": 134217728"), "%s", r.out);
    cr_assert(strstr(r.out, "\"asked\": false"), "%s", r.out);
    CLI(&r, "info", "sock");
    cr_assert(strstr(r.out, "\"target_bytes\": 134217728"), "%s", r.out);
}

Test(balloon, without_json_it_is_told_as_text)
{
    start("64");

    CLI(&r, "balloon", "sock");

    cr_assert_eq(r.code, 0, "%s", r.err);
    cr_assert(strstr(r.out, "target               64 MiB\n"), "%s", r.out);
    cr_assert(strstr(r.out, "actual               0 KiB\n"), "%s", r.out);
}

Test(balloon, mistakes_are_named)
{
    start("64");

    CLI(&r, "balloon", "sock", "1G");
    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "size=1024M is more than the guest's memory, 256M"), "%s", r.err);
    CLI(&r, "balloon", "sock", "much");
    cr_expect(strstr(r.err, "SIZE=much: a size"), "%s", r.err);
    CLI(&r, "balloon", "sock", "--id", "serial0");
    cr_expect(strstr(r.err, "'serial0' is no balloon"), "%s", r.err);
    CLI(&r, "set", "sock", "virtio-balloon0", "free_page_hinting=on");
    cr_expect(strstr(r.err, "no driver that hints free pages"), "%s", r.err);
    CLI(&r, "balloon", "nothing");
    cr_expect(strstr(r.err, "no machine listens on nothing"), "%s", r.err);
}

Test(balloon, a_machine_without_one_says_how_to_get_it)
{
    start(NULL);

    CLI(&r, "balloon", "sock", "1M");

    cr_assert_neq(r.code, 0);
    cr_assert(strstr(r.err, "this machine has none: start it with --balloon"), "%s", r.err);
}

Test(balloon, the_option_is_checked_before_anything_starts)
{
    CLI(&r, "plan", "--balloon", "512");
    cr_expect(strstr(r.err, "--balloon: size=512M is more than the guest's memory, 256M"), "%s",
              r.err);
    CLI(&r, "plan", "--balloon", "1", "--balloon", "2");
    cr_expect(strstr(r.err, "--balloon: balloon: at most 1"), "%s", r.err);
    CLI(&r, "plan", "--balloon", "size=0,free_page_reporting=on");
    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "virtio-balloon0"), "%s", r.out);
    CLI(&r, "plan", "--device", "virtio-balloon,placement=process");
    cr_expect(strstr(r.err, "placement=process cannot be: only on threads"), "%s", r.err);
}

Test(balloon, json_has_it_as_an_object_that_may_be_left_out)
{
    static const char text[] = "{\"balloon\":{\"size\":1048576,\"deflate_on_oom\":true}}";

    cli_file("k", "", 0);
    cli_file("c.json", text, sizeof(text) - 1);

    CLI(&r, "run", "k", "--config", "c.json", "--print-config");
    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "\"balloon\": {"), "%s", r.out);
    cr_expect(strstr(r.out, "\"deflate_on_oom\": true"), "%s", r.out);
    CLI(&r, "run", "k", "--print-config");

    cr_expect(!strstr(r.out, "balloon"), "%s", r.out);
}
