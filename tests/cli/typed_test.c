/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* --disk vhost_user=on and --fs: options for devices that another program serves. A plan talks to nobody. */
#include <criterion/criterion.h>
#include <string.h>

#include "cli.h"

static struct cli_result r;

TestSuite(typed, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

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

Test(typed, a_network_of_another_program_has_the_users_address_and_mtu)
{
    CLI(&r, "plan", "--net",
        "vhost_user=on,socket=nobody,mac=52:54:00:12:34:56,mtu=1400,num_queues=2", "k");
    planned("0000:00:01.0  1af4:1041  vhost-user0      3 MSI-X vectors");

    CLI(&r, "plan", "--net", "vhost_user=on,socket=nobody,mac=52:54:00:12:34", "k");
    refused("52:54:00:12:34");
    CLI(&r, "plan", "--net", "vhost_user=on,socket=nobody,mtu=60", "k");
    refused("mtu=60: at least 68");
    CLI(&r, "plan", "--net", "vhost_user=on,socket=nobody,ip=10.0.0.1", "k");
    refused("--net: ip=10.0.0.1 with vhost_user=on");
    CLI(&r, "plan", "--vhost-user", "block,socket=nobody,mac=52:54:00:12:34:56", "k");
    refused("mac=: only type=net has one");
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
        "--disk: path=a with vhost_user=on: that is the business of the program that serves it");
    CLI(&r, "plan", "--rodisk", "vhost_user=on,socket=/s", "k");
    refused("readonly=on with vhost_user=on");
    CLI(&r, "plan", "--disk", "vhost_user=on,socket=/s,serial=x", "k");
    refused("serial=x with vhost_user=on");
    CLI(&r, "plan", "--disk", "path=a,socket=/s", "k");
    refused("socket=/s without vhost_user=on");
    CLI(&r, "plan", "--disk", "path=a,vhost_mode=server", "k");
    refused("vhost_mode=server without vhost_user=on");
    CLI(&r, "plan", "--disk", "path=a,iommu=on", "k");
    refused("--disk: iommu=on without vhost_user=on");
    CLI(&r, "plan", "--net", "tap=t0,reconnect=5", "k");
    refused("--net: reconnect=5 without vhost_user=on");
}

Test(typed, what_is_known_of_another_program_can_be_said_of_each_type)
{
    static const char *const options[] = { "--disk", "--net" };

    for (size_t i = 0; i < 2; i++) {
        CLI(&r, "plan", options[i], "vhost_user=on,socket=nobody,iommu=on,wait=1,reconnect=60",
            "k");
        planned("vhost-user0");
    }
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    CLI(&r, "run", "--disk", "vhost_user=on,socket=nobody,wait=1", "k");
    cr_expect_eq(r.code, 1, "exit %d: %s", r.code, r.err);
    cr_expect(strstr(r.err, "no back end has come to nobody in 1 s"), "%s", r.err);
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

Test(typed, a_network_device_is_planned_without_touching_the_network)
{
    CLI(&r, "plan", "--net", "tap=vt0,ip=10.0.0.1,num_queues=4", "socket=/nowhere", "k");

    planned("0000:00:01.0  1af4:1041  virtio-net0      6 MSI-X vectors");
    planned("0000:00:02.0  1af4:1041  virtio-net1      4 MSI-X vectors");
}

Test(typed, a_network_device_of_another_program_has_its_place)
{
    CLI(&r, "plan", "--net", "vhost_user=on,socket=nobody", "k");

    planned("0000:00:01.0  1af4:1041  vhost-user0");
}

Test(typed, others_spellings_of_a_network_device_mean_the_same)
{
    static const char json[] =
        "{\"payload\":{\"kernel\":\"k\"},\"net\":[{\"tap\":\"t0\",\"ip\":\"10.0.0.1\",\"mask\":"
        "\"255.255.255.0\",\"mac\":\"52:54:00:12:34:56\",\"num_queues\":2,\"queue_size\":256},"
        "{\"vhost_user\":true,\"vhost_socket\":\"/x\"}]}";

    cli_file("vm.json", json, sizeof(json) - 1);
    CLI(&r, "plan", "--config", "vm.json");
    planned("virtio-net0");
    planned("vhost-user0");
    CLI(&r, "plan", "--tap-name", "t0", "--tap-name", "t1,mtu=1400", "k");
    planned("virtio-net1");
    CLI(&r, "plan", "--tap-fd", "0", "k");
    cr_expect(strstr(r.err, "is neither an open tap"), "%s", r.err); /* it is looked at */
    CLI(&r, "plan", "--net", "tap-name=t0,host-ip=10.0.0.1,netmask=255.0.0.0", "k");
    planned("virtio-net0");
}

Test(typed, three_options_of_crosvms_are_one_network_device)
{
    CLI(&r, "run", "--mac", "52:54:00:AB:34:56", "--host_ip=10.0.0.1", "--netmask", "255.0.0.0",
        "--print-config", "k");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "\"tap\": \"vm525400ab3456\""), "%s", r.out);
    cr_expect(strstr(r.out, "\"ip\": \"10.0.0.1\""), "%s", r.out);
    cr_expect(strstr(r.out, "\"mask\": \"255.0.0.0\""), "%s", r.out);
    cr_expect(strstr(r.out, "\"mac\": \"52:54:00:AB:34:56\""), "%s", r.out);

    CLI(&r, "plan", "--net", "mode=none", "--mac", "52:54:00:12:34:56", "--host-ip", "10.0.0.1",
        "--netmask", "255.0.0.0", "k");
    planned("virtio-net1");
}

static const struct {
    const char *net, *text;
} wrong_net[] = {
    { "mac=52:54:00:12:34:56", "what is it connected to? Give tap=NAME" },
    { "tap=t0,mac=52:54:00:12:34", "mac=52:54:00:12:34 is no MAC address" },
    { "tap=t0,mtu=20", "mtu=20: it can be 68 to 65535" },
    { "tap=t0,num_queues=3", "they come in pairs" },
    { "tap=t0,ip=10.0.0.256", "ip=10.0.0.256 is no IPv4 address" },
    { "tap=t0,ip=fd00::g", "ip=fd00::g is no IPv6 address" },
    { "tap=t0,ip=fd00::1/129", "behind / there is a number of bits, 1 to 128" },
    { "tap=t0,ip=10.0.0.1/", "behind / there is a number of bits, 1 to 32" },
    { "tap=t0,ip=fd00::1,mask=255.0.0.0", "an IPv6 address has its prefix behind it" },
    { "tap=t0,ip=10.0.0.1/8,mask=255.0.0.0", "leave one of them out" },
    { "tap=t0,rss=on", "rss=on: there is one queue to receive" },
    { "vhost_user=on,socket=/s,host_mac=52:54:00:12:34:56",
      "host_mac=52:54:00:12:34:56 with vhost_user=on" },
    { "vhost_user=on", "--net: vhost_user=on needs socket=PATH" },
    { "vhost_user=on,socket=/s,tap=t0", "--net: tap=t0 with vhost_user=on" },
    { "tap=t0,program=x", "--net: program=x without vhost_user=on" },
};

Test(typed, mistakes_of_network_devices_are_one_line_each)
{
    for (size_t i = 0; i < sizeof(wrong_net) / sizeof(wrong_net[0]); i++) {
        CLI(&r, "plan", "--net", wrong_net[i].net, "k");

        cr_expect_neq(r.code, 0, "%s", wrong_net[i].net);
        cr_expect(strstr(r.err, wrong_net[i].text), "no '%s' in: %s", wrong_net[i].text, r.err);
    }
}
