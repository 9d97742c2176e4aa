/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Help, manual page and completion: what stands in them, and that it wraps. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/config/help.h>

#include "sample.h"
#include "text.h"

static struct vm_buffer out;

static void end(void)
{
    vm_buffer_free(&out);
}

TestSuite(help, .fini = end);

static const char *text(void)
{
    return (const char *)out.data;
}

static void has(const char *part)
{
    cr_assert_not_null(strstr(text(), part), "'%s' is not in:\n%s", part, text());
}

static size_t longest_line(void)
{
    size_t most = 0;

    for (const char *line = text(); *line;) {
        size_t len = strcspn(line, "\n");

        most = len > most ? len : most;
        line += len + (line[len] != '\0');
    }
    return most;
}

Test(help, program_lists_its_commands)
{
    cr_assert_eq(vmm_config_help_program(&sample_program, 0, &out), 0);

    has("vmm 1.2: virtual machine monitor\n\nUsage: vmm COMMAND [...]\n");
    has("\n  run           start a virtual machine\n  stop          stop it\n");
}

Test(help, command_lists_operands_and_options_in_groups)
{
    cr_assert_eq(vmm_config_help_command(&sample_run, 80, &out), 0);

    has("Usage: vmm run [options] [KERNEL]\n\n  KERNEL                  kernel image\n");
    has("\nMachine:\n  -m, --memory SIZE|KEY=VALUE,...\n                          guest memory;");
    has("      --memory-size SIZE  guest memory (default: 256M)\n");
    has("  -i, --initrd PATH       initial RAM disk (cloud-hypervisor: --initramfs)\n");
    has("\nDevices:\n  -d, --disk PATH|KEY=VALUE,...\n");
    has("a disk; keys: --disk help\n");
    has("  -h, --help              this text\n");
}

Test(help, command_without_options_has_help)
{
    cr_assert_eq(vmm_config_help_command(&sample_stop, 80, &out), 0);

    has("Usage: vmm stop [options] SOCKET WORD...\n");
    has("\nOptions:\n  -h, --help");
}

Test(help, letter_h_that_is_taken_is_not_help)
{
    static const struct vmm_option options[] = {
        { .name = "height", .letter = 'h', .argument = "N", .help = "how high" }, { 0 }
    };
    static const struct vmm_command command = { .name = "x", .summary = "y", .options = options };

    cr_assert_eq(vmm_config_help_command(&command, 80, &out), 0);

    has("  -h, --height N          how high\n      --help              this text\n");
}

Test(help, lines_keep_the_width)
{
    static const unsigned widths[] = { 40, 60, 80, 100 };

    for (size_t i = 0; i < VM_ARRAY_SIZE(widths); i++) {
        vm_buffer_free(&out);
        cr_assert_eq(vmm_config_help_command(&sample_run, widths[i], &out), 0);
        cr_assert_leq(longest_line(), widths[i], "%u", widths[i]);
        cr_assert_eq(vmm_config_help_props(sample_props, "x", widths[i], &out), 0);
        cr_assert_leq(longest_line(), widths[i], "%u", widths[i]);
    }
}

Test(help, tiny_width_counts_as_forty)
{
    cr_assert_eq(vmm_config_help_command(&sample_run, 1, &out), 0);

    cr_assert_leq(longest_line(), 40);
}

Test(help, props_tell_form_range_default_and_need)
{
    cr_assert_eq(vmm_config_help_props(sample_props, "the keys", 80, &out), 0);

    has("the keys\n\n");
    has("  cpus.num=N              vCPUs at start; from 1 to 255 (default: 1)\n");
    has("  cpus.features=[TEXT,...]\n                          CPU features\n");
    has("  memory.size=SIZE        bytes of guest memory; at least 1M (default: 256M)\n");
    has("  memory.node=N           host node\n");
    has("  serial.mode=off|tty|file\n");
    has("  tpm.socket=PATH         socket of swtpm (required)\n");
    has("  sandbox=on|off          jail (default: on)\n");
    has("  console_fd=FD           open console\n");
}

Test(help, lists_of_objects_tell_their_keys)
{
    cr_assert_eq(vmm_config_help_props(sample_props, "x", 80, &out), 0);

    has("  disks=[[KEY=VALUE,...],...]\n");
    has("  disks[].path=PATH");
}

Test(help, element_does_not_tell_again_what_the_outer_table_says)
{
    static const struct vm_prop inner[] = {
        { .name = "mode", .type = VM_PROP_U32, .help = "how" },
        { .name = "name", .type = VM_PROP_U32, .help = "of the inner one" },
        { 0 },
    };
    static const struct vm_prop outer[] = {
        { .name = "mode", .type = VM_PROP_U32, .help = "how" },
        { .name = "name", .type = VM_PROP_U32, .help = "of the outer one" },
        { .name = "also", .type = VM_PROP_OBJECTS, .props = inner, .help = "more" },
        { 0 },
    };

    cr_assert_eq(vmm_config_help_props(outer, "x", 80, &out), 0);

    has("  also[].name=N ");
    cr_assert_null(strstr(text(), "also[].mode"));
}

Test(help, props_leave_out_what_only_json_has)
{
    cr_assert_eq(vmm_config_help_props(sample_props, "x", 80, &out), 0);

    cr_assert_null(strstr(text(), "devices"));
}

Test(help, classes_are_listed_with_their_summaries)
{
    cr_assert_eq(vmm_config_help_classes(&sample_classes, "--device", 80, &out), 0);

    cr_assert_str_eq(text(), "--device\n\n  virtio-rng              entropy for the guest\n"
                             "  virtio-blk              a disk\n");
}

Test(help, first_error_of_a_text_stays)
{
    struct vmm_config_text t = { .out = &out, .rc = -ENOMEM };

    vmm_config_put(&t, "x");

    cr_assert_eq(vmm_config_finish(&t), -ENOMEM);
    cr_assert_eq(out.len, 0);
}

Test(help, manual_page_has_every_part)
{
    cr_assert_eq(vmm_config_man(&sample_program, &out), 0);

    has(".TH \"VMM\" 1 \"\" \"vmm 1.2\" \"User Commands\"\n.SH NAME\nvmm \\- virtual machine");
    has("\n.SS \"vmm run\"\n.B vmm run\n[options] [KERNEL]\n");
    has(".TP\n\\fB\\-m\\fP, \\fB\\-\\-memory\\fP, \\fB\\-\\-mem\\fP \\fISIZE|KEY=VALUE,...\\fP\n");
    has(".RS\n.TP\n.B size=SIZE\nbytes of guest memory; at least 1M (default: 256M)\n");
    has("Its keys are those of \\fB\\-\\-disk\\fP.\n");
    has("\n.SH DEVICES\n.SS \"virtio\\-rng\"\nentropy for the guest.\n.TP\n.B mode=off|tty|file\n");
}

Test(help, manual_page_escapes_what_roff_would_read)
{
    cr_assert_eq(vmm_config_man(&sample_program, &out), 0);

    has(".PP\nFirst paragraph.\n.PP\n\\&.Second one's \\e text.\n");
}

Test(help, zsh_and_fish_scripts_name_each_option)
{
    cr_assert_eq(vmm_config_completion(&sample_program, VMM_CONFIG_ZSH, &out), 0);
    has("#compdef vmm\n");
    has("'*--sandbox[jail on or off]:on|off:(on off)'");
    has("'*-m[guest memory; a bare number is MiB]");

    vm_buffer_free(&out);
    cr_assert_eq(vmm_config_completion(&sample_program, VMM_CONFIG_FISH, &out), 0);
    has("complete -c vmm -n __fish_use_subcommand -f -a run -d 'start a virtual machine'\n");
    has("complete -c vmm -n '__fish_seen_subcommand_from run' -l sandbox -r -f -a 'on off' -d "
        "'jail on "
        "or off'\n");
}

/* Calls the completion as bash would: its own words end at '='. */
static const char driver[] =
    "\ncomplete_line() {\n"
    "  COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=(); local w tok\n"
    "  read -ra tok <<< \"$1\"; [[ $1 == *' ' ]] && tok+=('')\n"
    "  for w in \"${tok[@]}\"; do\n"
    "    [[ $w != *=* ]] && { COMP_WORDS+=(\"$w\"); continue; }\n"
    "    while [[ $w == *=* ]]; do [[ -n ${w%%=*} ]] && COMP_WORDS+=(\"${w%%=*}\");\n"
    "      COMP_WORDS+=('='); w=${w#*=}; done\n"
    "    [[ -n $w ]] && COMP_WORDS+=(\"$w\")\n"
    "  done\n"
    "  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )); _vmm; echo \"${COMPREPLY[*]}\"\n"
    "}\n"
    "while IFS= read -r line; do complete_line \"$line\"; done <<'LINES'\n";

struct completion {
    const char *line, *wanted;
};

static const struct completion completions[] = {
    { "vmm ", "run stop" },
    { "vmm ru", "run" },
    { "vmm run --me", "--memory --memory-size" },
    { "vmm run --sandbox ", "on off" },
    { "vmm run --sandbox=of", "off" },
    { "vmm run -S --serial ", "off tty file help mode= file=" },
    { "vmm run --serial mode=", "off tty file" },
    { "vmm run --serial mode=f", "file" },
    { "vmm run -d path=ker", "kernel.img" },
    { "vmm run -d path=/a,rea", "/a,readonly=" },
    { "vmm run -d path=/a,readonly=", "on off" },
    { "vmm run --initramfs ker", "kernel.img" },
    { "vmm run --device virtio-r", "virtio-rng" },
    { "vmm run --device virtio-rng,mo", "virtio-rng,mode=" },
    { "vmm run --device virtio-rng,mode=t", "tty" },
    { "vmm run ker", "kernel.img" },
};

static void write_script(const char *folder)
{
    char path[64];
    FILE *script;

    snprintf(path, sizeof(path), "%s/kernel.img", folder);
    fclose(fopen(path, "w"));
    snprintf(path, sizeof(path), "%s/script", folder);
    script = fopen(path, "w");
    cr_assert_not_null(script);
    fwrite(out.data, 1, out.len, script);
    fputs(driver, script);
    for (size_t i = 0; i < VM_ARRAY_SIZE(completions); i++)
        fprintf(script, "%s\n", completions[i].line);
    fputs("LINES\n", script);
    fclose(script);
}

static void remove_folder(const char *folder)
{
    static const char *const names[] = { "kernel.img", "script" };
    char path[64];

    for (size_t i = 0; i < VM_ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

Test(help, bash_completes_options_keys_values_and_files)
{
    char folder[] = "/tmp/vmm-config-test-XXXXXX", command[96], got[256] = "";
    FILE *bash;
    cr_assert_eq(vmm_config_completion(&sample_program, VMM_CONFIG_BASH, &out), 0);
    cr_assert_not_null(mkdtemp(folder));
    write_script(folder);
    snprintf(command, sizeof(command), "cd %s && bash --norc script", folder);

    bash = popen(command, "r");

    for (size_t i = 0; i < VM_ARRAY_SIZE(completions); i++) {
        cr_expect_not_null(fgets(got, sizeof(got), bash));
        got[strcspn(got, "\n")] = '\0';
        cr_expect_str_eq(got, completions[i].wanted, "%s: %s", completions[i].line, got);
    }
    pclose(bash);
    remove_folder(folder);
}
