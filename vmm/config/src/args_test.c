/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The command line: how words become values, and what is refused. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/config/args.h>

#include "sample.h"

static struct sample s;
static struct vm_buffer out;
static int called;

static void begin(void)
{
    cr_assert_eq(vm_prop_defaults(sample_props, &s), 0, "%s", vm_error_text());
}

static void end(void)
{
    vm_prop_free(sample_props, &s);
    vm_buffer_free(&out);
}

TestSuite(args, .init = begin, .fini = end);

static int parse_of(const struct vmm_command *command, char *const argv[])
{
    int argc = 0;

    while (argv[argc])
        argc++;
    return vmm_config_parse_args(command, &s, &called, argc, argv, &out);
}

#define parse(...) parse_of(&sample_run, (char *const[]){ __VA_ARGS__, NULL })

static const struct sample_disk *disk(unsigned i)
{
    return &((const struct sample_disk *)s.disks.items)[i];
}

static const struct vm_prop_variant *device(unsigned i)
{
    return &((const struct vm_prop_variant *)s.devices.items)[i];
}

Test(args, no_words_leave_the_defaults)
{
    cr_assert_eq(parse_of(&sample_run, (char *const[]){ NULL }), 0);

    cr_assert_eq(s.memory.size, 256 << 20);
}

Test(args, value_may_follow_in_four_ways)
{
    static char *const ways[][3] = {
        { "--memory-size", "2G" }, { "--memory-size=2G" }, { "-m", "2G" }, { "-m2G" }
    };

    for (size_t i = 0; i < 4; i++) {
        s.memory.size = 0;
        cr_assert_eq(parse_of(&sample_run, ways[i]), 0, "%s", vm_error_text());
        cr_assert_eq(s.memory.size, 2ULL << 30, "%zu", i);
    }
}

Test(args, bare_number_counts_the_unit_of_the_option)
{
    cr_assert_eq(parse("-m", "512"), 0);
    cr_assert_eq(s.memory.size, 512 << 20);

    cr_assert_eq(parse("--memory", "300,shared"), 0);
    cr_assert_eq(s.memory.size, 300 << 20);
    cr_assert(s.memory.shared);

    cr_assert_eq(parse("--memory-size", "64"), 0);
    cr_assert_eq(s.memory.size, 64 << 20);
}

Test(args, number_with_its_key_counts_bytes)
{
    cr_assert_eq(parse("--memory", "size=2097152"), 0, "%s", vm_error_text());

    cr_assert_eq(s.memory.size, 2097152);
}

Test(args, aliases_and_underscores_are_names_too)
{
    cr_assert_eq(parse("--mem", "1G", "--initramfs", "i", "--params", "quiet"), 0);
    cr_assert_eq(s.memory.size, 1ULL << 30);
    cr_assert_str_eq(s.payload.initramfs, "i");
    cr_assert_str_eq(s.payload.cmdline, "quiet");

    cr_assert_eq(parse("--memory_size=3G"), 0);
    cr_assert_eq(s.memory.size, 3ULL << 30);
}

Test(args, later_scalar_wins_and_objects_add_up)
{
    cr_assert_eq(parse("-p", "a", "-p", "b", "--cpus", "2", "--cpus", "max=4"), 0);

    cr_assert_str_eq(s.payload.cmdline, "b");
    cr_assert_eq(s.cpus.boot, 2);
    cr_assert_eq(s.cpus.max, 4);
}

Test(args, text_is_taken_as_it_is)
{
    cr_assert_eq(parse("--cmdline", "a=\"b,c\" --x"), 0);

    cr_assert_str_eq(s.payload.cmdline, "a=\"b,c\" --x");
}

Test(args, value_may_begin_with_a_dash)
{
    cr_assert_eq(parse("-p", "-x"), 0);

    cr_assert_str_eq(s.payload.cmdline, "-x");
}

Test(args, flags_stand_for_their_value)
{
    cr_assert_eq(parse("-SJ", "--no-serial"), 0, "%s", vm_error_text());
    cr_assert(s.sandbox);
    cr_assert_eq(s.serial.mode, 0);

    cr_assert_eq(parse("-JS"), 0);
    cr_assert_not(s.sandbox);
    cr_assert_eq(parse("--sandbox", "yes"), 0);
    cr_assert(s.sandbox);
}

Test(args, letters_may_end_in_one_with_a_value)
{
    cr_assert_eq(parse("-Sm1G"), 0);

    cr_assert_not(s.sandbox);
    cr_assert_eq(s.memory.size, 1ULL << 30);
}

Test(args, list_option_appends)
{
    cr_assert_eq(parse("-t", "a,b", "-t", "c"), 0);

    cr_assert_eq(s.tags.count, 2);
    cr_assert_str_eq(((char **)s.tags.items)[0], "a,b");
}

Test(args, objects_are_appended_with_path_first)
{
    cr_assert_eq(parse("-d", "/a", "--disk", "/b,readonly,id=x"), 0, "%s", vm_error_text());

    cr_assert_eq(s.disks.count, 2);
    cr_assert_str_eq(disk(0)->path, "/a");
    cr_assert_str_eq(disk(1)->id, "x");
    cr_assert(disk(1)->readonly);
}

Test(args, digits_of_a_first_item_stay_where_there_is_no_unit)
{
    cr_assert_eq(parse("-d", "100"), 0);

    cr_assert_str_eq(disk(0)->path, "100");
}

Test(args, fixed_keys_are_added_and_cannot_be_given)
{
    cr_assert_eq(parse("--rodisk", "/a"), 0);
    cr_assert(disk(0)->readonly);

    cr_assert_eq(parse("--rodisk", "/a,readonly=off"), -EINVAL);
    cr_assert_str_eq(vm_error_text(),
                     "--rodisk: 'readonly' is given twice (--rodisk itself says readonly=on)");
    cr_assert_eq(s.disks.count, 1);
}

Test(args, several_values_may_follow_one_option)
{
    cr_assert_eq(parse("--disk", "path=/a", "path=/b", "id=c,path=/c", "KERNEL"), 0, "%s",
                 vm_error_text());

    cr_assert_eq(s.disks.count, 3);
    cr_assert_str_eq(disk(2)->path, "/c");
    cr_assert_str_eq(s.payload.kernel, "KERNEL");
}

Test(args, word_that_is_no_key_ends_the_values)
{
    cr_assert_eq(parse("--disk", "path=/a", "vm=linux"), 0, "%s", vm_error_text());

    cr_assert_eq(s.disks.count, 1);
    cr_assert_str_eq(s.payload.kernel, "vm=linux");
}

Test(args, device_has_the_keys_of_its_class)
{
    const struct sample_serial *rng;
    const struct sample_disk *blk;

    cr_assert_eq(parse("--device", "virtio-rng,mode=file", "virtio_blk,path=/a", "path=/b", "K"), 0,
                 "%s", vm_error_text());

    cr_assert_eq(s.devices.count, 3);
    rng = device(0)->object;
    blk = device(1)->object;
    cr_assert_eq(rng->mode, 2);
    cr_assert_str_eq(blk->path, "/a");
    cr_assert_str_eq(device(2)->class_row.name, "virtio-blk");
    cr_assert_str_eq(s.payload.kernel, "K");
}

Test(args, device_without_keys_is_enough)
{
    cr_assert_eq(parse("--device", "virtio-rng"), 0, "%s", vm_error_text());

    cr_assert_eq(s.devices.count, 1);
}

Test(args, operand_and_options_mix)
{
    cr_assert_eq(parse("K", "-m", "1G"), 0);

    cr_assert_str_eq(s.payload.kernel, "K");
    cr_assert_eq(s.memory.size, 1ULL << 30);
}

Test(args, words_behind_two_dashes_are_operands)
{
    cr_assert_eq(parse("-S", "--", "--memory"), 0);

    cr_assert_str_eq(s.payload.kernel, "--memory");
}

Test(args, single_dash_is_an_operand)
{
    cr_assert_eq(parse("-"), 0);

    cr_assert_str_eq(s.payload.kernel, "-");
}

Test(args, call_gets_its_value_and_may_end_the_parsing)
{
    cr_assert_eq(parse("--config", "x"), 0);
    cr_assert_eq(called, 1);

    cr_assert_eq(parse("--config", "stop", "--nonsense"), 7);
}

struct bad {
    char *argv[4];
    const char *text;
};

static const struct bad bad[] = {
    { { "--memry", "1" },
      "vmm run: unknown option '--memry', did you mean '--memory'? see vmm run --help" },
    { { "--helicopter=1" }, "vmm run: unknown option '--helicopter'; see vmm run --help" },
    { { "--=1" }, "vmm run: unknown option '--'; see vmm run --help" },
    { { "-x" }, "vmm run: unknown option '-x'; see vmm run --help" },
    { { "-m" }, "vmm run: -m needs a value: -m SIZE|KEY=VALUE,..." },
    { { "--memory" }, "vmm run: --memory needs a value: --memory SIZE|KEY=VALUE,..." },
    { { "--disable-sandbox=on" }, "vmm run: --disable-sandbox takes no value" },
    { { "K", "L" }, "vmm run: 'L' is one word too many; see vmm run --help" },
    { { "--memory-size", "x" },
      "--memory-size: size=x: a size (4096, 64K, 256M, 2G, 1T) of at least 1M is needed" },
    { { "--memory=1,1" }, "--memory: unknown key '1'; valid: size, shared, node" },
    { { "--disk", "readonly=on" }, "--disk: 'path' is missing: image file" },
    { { "--disk", "pth=x" },
      "--disk: unknown key 'pth', did you mean 'path'? valid: path, readonly, id, serial" },
    { { "--device", "virtio-rnd" },
      "--device: unknown class 'virtio-rnd', did you mean 'virtio-rng'? valid: virtio-rng, "
      "virtio-blk" },
    { { "--device", "zzz,x=y" }, "--device: unknown class 'zzz'; valid: virtio-rng, virtio-blk" },
    { { "--device", "virtio-blk,readonly" }, "--device virtio-blk: 'path' is missing: image file" },
    { { "--device", "virtio-rng," }, "--device: nothing follows the last comma" },
    { { "-m", "" }, "vmm run: -m '' is empty: give -m SIZE|KEY=VALUE,..., or leave it out" },
    { { "--memory=" },
      "vmm run: --memory '' is empty: give --memory SIZE|KEY=VALUE,..., or leave it out" },
    { { "--serial", "" }, "vmm run: --serial '' is empty: give --serial MODE, or leave it out" },
    { { "--rodisk", "" }, "vmm run: --rodisk '' is empty: give --rodisk PATH, or leave it out" },
    { { "--device", "" },
      "vmm run: --device '' is empty: give --device CLASS,KEY=VALUE,..., or leave it out" },
    { { "--sandbox=" }, "vmm run: --sandbox '' is empty: give --sandbox on|off, or leave it out" },
    { { "--console-fd", "" },
      "vmm run: --console-fd '' is empty: give --console-fd FD, or leave it out" },
    { { "--config", "" }, "vmm run: --config '' is empty: give --config FILE, or leave it out" },
    { { "" }, "vmm run: KERNEL is empty: kernel image" },
};

Test(args, bad_words_are_refused_with_the_cure)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++) {
        vm_prop_free(sample_props, &s);
        begin();

        int rc = parse_of(&sample_run, bad[i].argv);

        cr_assert(rc == -EINVAL, "%s: %d", bad[i].argv[0], rc);
        cr_assert_str_eq(vm_error_text(), bad[i].text, "%s", vm_error_text());
        cr_assert_eq(s.disks.count + s.devices.count, 0);
    }
}

Test(args, only_texts_may_be_empty)
{
    cr_assert_eq(parse("--cmdline", "", "-t", ""), 0, "%s", vm_error_text());

    cr_assert_str_eq(s.payload.cmdline, "");
    cr_assert_eq(s.tags.count, 1);
}

Test(args, elements_beyond_the_bound_are_refused)
{
    int rc = parse("-d", "a", "-d", "b", "-d", "c", "-d", "d", "-d", "e");

    cr_assert_eq(rc, -ERANGE);
    cr_assert_str_eq(vm_error_text(), "-d: disks: at most 4 are possible");
}

Test(args, class_must_be_named_where_none_is_implied)
{
    static const struct vmm_config_classes classes = { .at = sample_class_at };
    static const struct vmm_config_model model = { sample_props, &classes };
    struct vmm_option option = { .name = "device", .path = "devices", .argument = "X" };

    int rc = vmm_config_apply(&model, &option, &s, "--device", "path=/a", &out);

    cr_assert_eq(rc, -EINVAL);
    cr_assert_str_eq(vm_error_text(),
                     "--device: the name of a class comes first: NAME,KEY=VALUE,...");
}

Test(args, implied_class_that_does_not_exist_is_refused)
{
    static const struct vmm_config_classes classes = { .at = sample_class_at, .implied = "vfio" };
    static const struct vmm_config_model model = { sample_props, &classes };
    static const struct vmm_command command = {
        .name = "x", .options = sample_options, .operands = sample_operands, .model = &model
    };

    cr_assert_eq(parse_of(&command, (char *const[]){ "--device", "path=/a", NULL }), -EINVAL);
    cr_assert_eq(parse_of(&command, (char *const[]){ "--device", "virtio-rng", "path=/a", NULL }),
                 0);
    cr_assert_str_eq(s.payload.kernel, "path=/a");
}

Test(args, missing_operand_is_named)
{
    cr_assert_eq(parse_of(&sample_stop, (char *const[]){ NULL }), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "vmm stop: SOCKET is missing: control socket");

    cr_assert_eq(parse_of(&sample_stop, (char *const[]){ "a", NULL }), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "vmm stop: WORD is missing: words");

    cr_assert_eq(parse_of(&sample_stop, (char *const[]){ "a", "b", "--", "c", NULL }), 0);
}

static void check_help(char *const argv[], const char *has)
{
    vm_buffer_free(&out);
    cr_assert_eq(parse_of(&sample_run, argv), VMM_CONFIG_HELP, "%s", argv[0]);
    cr_assert_not_null(strstr((const char *)out.data, has), "%s", (const char *)out.data);
}

Test(args, help_is_asked_for_in_many_ways)
{
    check_help((char *const[]){ "-h", "--nonsense", NULL }, "Usage: vmm run [options] [KERNEL]");
    check_help((char *const[]){ "--help", NULL }, "Usage: vmm run");
    check_help((char *const[]){ "--disk", "help", NULL }, "readonly=on|off");
    check_help((char *const[]){ "--memory", "help", NULL }, "size=SIZE");
    check_help((char *const[]){ "--device", "help", NULL }, "entropy for the guest");
    check_help((char *const[]){ "--device", "virtio-rng,help", NULL }, "mode=off|tty|file");
    cr_assert_eq(s.disks.count + s.devices.count, 0);
}

Test(args, row_without_path_is_our_bug)
{
    static const struct vmm_option options[] = { { .name = "x" }, { 0 } };
    static const struct vmm_command command = { .name = "cmd", .options = options };

    cr_assert_eq(parse_of(&command, (char *const[]){ "--x", NULL }), -EINVAL);
}
