/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* --disk vhost_user=on and --fs: options for devices that another program serves. A plan talks to nobody. */
#include <criterion/criterion.h>
#include <string.h>

#include "cli.h"

static struct cli_result r;

TestSuite(typed, .init = cli_begin, .fini = cli_end, .timeout = 60);

enum { USAGE = 2 };

static void refused(const char *words)
{
    const char *end = strchr(r.err, '\n');

    cr_expect_eq(r.code, USAGE, "exit %d: %s", r.code, r.err);
    cr_expect(end && !end[1], "not one line: '%s'", r.err);
    cr_expect(strstr(r.err, words), "no '%s' in: %s", words, r.err);
}

static void planned(const char *words)
{
    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, words), "no '%s' in: %s", words, r.out);
}

Test(typed, a_disk_of_another_program_is_a_disk_in_its_place)
{
    CLI(&r, "plan", "--disk", "vhost_user=on,socket=nobody,num_queues=4", "--disk",
        "path=/dev/null", "k");

    planned("0000:00:01.0  1af4:1042  vhost-user0      5 MSI-X vectors");
    planned("0000:00:02.0  1af4:1042  virtio-blk0");
    planned("sandbox not ours: another program");
}

Test(typed, a_file_system_has_a_tag_and_a_socket)
{
    CLI(&r, "plan", "--fs", "tag=a,socket=nobody", "tag=b,socket=none", "k");

    planned("0000:00:01.0  1af4:105a  vhost-user0");
    planned("0000:00:02.0  1af4:105a  vhost-user1");
}

Test(typed, cloud_hypervisors_json_has_them_too)
{
    static const char json[] =
        "{\"payload\":{\"kernel\":\"k\"},"
        "\"disks\":[{\"vhost_user\":true,\"vhost_socket\":\"/x\",\"num_queues\":2}],"
        "\"fs\":[{\"tag\":\"t\",\"socket\":\"/y\",\"num_queues\":2,\"queue_size\":1024}]}";

    cli_file("vm.json", json, sizeof(json) - 1);
    CLI(&r, "plan", "--config", "vm.json");

    planned("1af4:1042  vhost-user0      3 MSI-X vectors");
    planned("1af4:105a  vhost-user1");
}

Test(typed, what_was_said_is_printed_and_read_again)
{
    CLI(&r, "run", "--disk", "vhost_user=on,socket=/x", "--fs", "tag=t,socket=/y", "--kernel", "k",
        "--print-config");
    cr_assert_eq(r.code, 0, "%s", r.err);
    cli_file("vm.json", r.out, strlen(r.out));

    CLI(&r, "plan", "--config", "vm.json");

    planned("1af4:1042  vhost-user0");
    planned("1af4:105a  vhost-user1");
}

Test(typed, help_tells_their_keys)
{
    CLI(&r, "run", "--disk", "help");
    planned("vhost_user=on|off");
    CLI(&r, "run", "--fs", "help");
    planned("tag=TEXT");
    cr_expect(!strstr(r.out, "\n  type="), "%s", r.out);
}

Test(typed, words_that_contradict_each_other_are_refused)
{
    CLI(&r, "plan", "--disk", "vhost_user=on,socket=/s,path=a", "k");
    refused(
        "--disk: path=a with vhost_user=on: that is the business of the program behind socket=");
    CLI(&r, "plan", "--rodisk", "vhost_user=on,socket=/s", "k");
    refused("readonly=on with vhost_user=on");
    CLI(&r, "plan", "--disk", "vhost_user=on,socket=/s,serial=x", "k");
    refused("serial=x with vhost_user=on");
    CLI(&r, "plan", "--disk", "path=a,socket=/s", "k");
    refused("socket= without vhost_user=on");
    CLI(&r, "plan", "--disk", "path=a,vhost_mode=server", "k");
    refused("vhost_mode=server without vhost_user=on");
}

Test(typed, what_is_missing_is_named)
{
    CLI(&r, "plan", "--disk", "vhost_user=on", "k");
    refused("--disk: vhost_user=on needs socket=PATH");
    CLI(&r, "plan", "--disk", "readonly=on", "k");
    refused("--disk: 'path' is missing");
    CLI(&r, "plan", "--fs", "socket=/s", "k");
    refused("tag=NAME");
    CLI(&r, "plan", "--fs", "tag=a", "k");
    refused("no back end: give socket=PATH");
    CLI(&r, "plan", "--fs", "tag=a,socket=/s,type=net", "k");
    refused("unknown key 'type'");
}
