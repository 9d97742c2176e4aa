/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The program's commands: which there are, how a command line becomes a call. */
#include <vmm/control/control.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/file.h>
#include <vmm/base/shed.h>
#include <vmm/config/args.h>
#include <vmm/config/help.h>
#include <vmm/config/json.h>

#include "options.h"
#include "run.h"
#include "verbs.h"

enum { CONFIG_BYTES_MAX = 4 << 20 };

int vmm_command_fail(int code)
{
    dprintf(STDERR_FILENO, "vmm: %s\n", vmm_run_error_text(code));
    return vmm_run_exit_code(code);
}

int vmm_command_print(const char *text, size_t len)
{
    int rc = vm_write_full(STDOUT_FILENO, text, len);

    return rc ? vmm_command_fail(vm_wrap(rc, "standard output")) : VMM_EXIT_OK;
}

static int print_buffer(struct vm_buffer *b, int rc)
{
    int code = rc < 0 ? vmm_command_fail(rc) : vmm_command_print((const char *)b->data, b->len);

    vm_buffer_free(b);
    return code;
}

/* Opening a FIFO would wait for its writer; reading one without writers ends at once. */
static int read_config(const char *path, void **ret_text, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0;
    struct stat st;

    if (fd < 0)
        return vm_file_fail("--config", path, false);
    if (fstat(fd, &st) || fcntl(fd, F_SETFL, 0))
        rc = vm_fail_errno("--config %s", path);
    else if (S_ISDIR(st.st_mode))
        rc = vm_fail(-EISDIR, "--config %s: Is a directory: name a file", path);
    else
        rc = vm_read_file(fd, path, CONFIG_BYTES_MAX, ret_text, ret_len);
    close(fd);
    if (rc || *ret_len || !S_ISFIFO(st.st_mode))
        return rc;
    free(*ret_text);
    return vm_fail(-EINVAL, "--config %s: a FIFO that nobody writes to: start its writer first",
                   path);
}

int vmm_options_load_config(struct session *s, const char *path)
{
    void *text;
    size_t len;
    int rc = read_config(path, &text, &len);

    if (rc)
        return rc;
    rc = vmm_config_load_json(&s->model.model, s->config, path, text, len);
    free(text);
    return rc;
}

int vmm_command_run(struct session *s)
{
    int rc;

    if (s->print_config) {
        struct vm_buffer b = { 0 };

        rc = vmm_config_save_json(&s->model.model, s->config, VM_SURFACE_OWN,
                                  VMM_CONFIG_JSON_PRETTY, &b);
        if (!rc)
            rc = vm_buffer_add(&b, "\n", 1);
        return print_buffer(&b, rc);
    }
    rc = vmm_run_config_check(s->config, true);
    return rc ? vmm_command_fail(rc) : vmm_run_machine(&s->model, s->config);
}

static int command_version(struct session *s)
{
    static const char json[] = "{\"version\":\"" VMM_VERSION "\"}\n";

    if (s->json)
        return vmm_command_print(json, sizeof(json) - 1);
    return vmm_command_print("vmm " VMM_VERSION "\n", sizeof("vmm " VMM_VERSION "\n") - 1);
}

static int operand(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    if (s->value_count < VM_ARRAY_SIZE(s->values))
        s->values[s->value_count++] = (char *)value;
    return 0;
}

static int option_json(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    (void)value;
    s->json = true;
    return 0;
}

/* Where a report goes, or comes from: a second one would silently take the first one's place. */
static int set_once(const char **to, const char *what, const char *value)
{
    if (*to)
        return vm_fail(-EINVAL, "%s is given twice, as %s and %s: give one", what, *to, value);
    *to = value;
    return 0;
}

static int option_dump(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    return set_once(&s->dump_dir, "--dump-acpi", value);
}

static int option_dump_dtb(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    return set_once(&s->dump_dtb, "--dump-dtb", value);
}

static int option_diff(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    return set_once(&s->compare, "the report to compare with", value);
}

static int option_host(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    (void)value;
    s->on_host = true;
    return 0;
}

/* What plan and abi take besides all options of run. */
static const struct vmm_option options_plan[] = {
    { .group = "Report", .name = "json", .call = option_json, .help = "JSON instead of text" },
    { .name = "dump-acpi",
      .call = option_dump,
      .argument = "DIR",
      .help = "write each ACPI table into a file of DIR" },
    { .name = "dump-dtb",
      .call = option_dump_dtb,
      .argument = "FILE",
      .help = "write the device tree into FILE (AArch64)" },
    { 0 },
};
static int option_binary(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    return set_once(&s->binary, "--binary", value);
}

static const struct vmm_option options_upgrade[] = {
    { .name = "binary",
      .call = option_binary,
      .argument = "FILE",
      .help = "the program of vmm that is to serve the device; this one if not given" },
    { 0 },
};
static int option_placement(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    return set_once(&s->placement, "--placement", value);
}

static const struct vmm_option options_move[] = {
    { .name = "placement",
      .call = option_placement,
      .argument = "thread|process",
      .required = true,
      .help = "who is to serve it: a thread of the VMM, or a jailed process of its own" },
    { 0 },
};
static const struct vmm_option options_abi[] = {
    { .group = "Report",
      .name = "diff",
      .call = option_diff,
      .argument = "FILE",
      .help = "compare with an earlier report, one line for each difference; two reports: vmm "
              "abi diff FILE FILE" },
    { .name = "host",
      .call = option_host,
      .help = "processors as on this host, through KVM, in place of those of the reference hosts, "
              "which are the same everywhere" },
    { 0 },
};

#define OPERAND(what, text)                                                             \
    {                                                                                   \
        .name = what, .call = operand, .argument = what, .required = true, .help = text \
    }
#define SOCKET_OPERAND OPERAND("SOCKET", "control socket of the machine")

static const struct vmm_option socket_operand[] = { SOCKET_OPERAND, { 0 } };
static const struct vmm_option remove_operands[] = {
    SOCKET_OPERAND,
    OPERAND("ID", "device, as vmm info lists it; the guest is not asked, so unmount or unbind it "
                  "there before"),
    { 0 },
};
static const struct vmm_option set_operands[] = {
    SOCKET_OPERAND,
    OPERAND("ID", "device, as vmm info lists it"),
    OPERAND("KEY=VALUE", "what to change"),
    { 0 },
};
static const struct vmm_option upgrade_operands[] = {
    SOCKET_OPERAND,
    OPERAND("ID|all",
            "device in a process of its own, as vmm info lists it; all: each of them, one "
            "after the other"),
    { 0 },
};
static const struct vmm_option move_operands[] = {
    SOCKET_OPERAND,
    OPERAND("ID", "virtio device, as vmm info lists it"),
    { 0 },
};
static const struct vmm_option cancel_operands[] = {
    SOCKET_OPERAND,
    OPERAND("JOB", "number of the job, as vmm info lists it"),
    { 0 },
};
static const struct vmm_option balloon_operands[] = {
    SOCKET_OPERAND,
    { .name = "SIZE",
      .call = operand,
      .argument = "SIZE",
      .help = "memory that the guest is to do without, as 512M; the rest is left as it is" },
    { 0 },
};
static const struct vmm_option announce_operands[] = {
    SOCKET_OPERAND,
    { .name = "ID",
      .call = operand,
      .argument = "ID",
      .help = "network device, as vmm info lists it; all of them if not given" },
    { 0 },
};
static int option_messages(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    (void)value;
    s->messages = true;
    return 0;
}

static const struct vmm_option vsock_options[] = {
    { .name = "seqpacket",
      .call = option_messages,
      .help = "messages: SOCKET is the one of seqpacket=; each read of standard input is one" },
    { 0 },
};
static const struct vmm_option vsock_operands[] = {
    OPERAND("connect", "what to do: connect"),
    OPERAND("SOCKET", "socket of the machine's --vsock"),
    OPERAND("PORT", "port that a program of the guest listens at"),
    { 0 },
};
static const struct vmm_option shell_operand[] = { OPERAND("SHELL", "bash, zsh or fish"), { 0 } };
static int option_id(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    return set_once(&s->id, "--id", value);
}

static const struct vmm_option options_balloon[] = {
    { .name = "id",
      .call = option_id,
      .argument = "ID",
      .help = "which one, as vmm info lists it; where there are several" },
    { .name = "json", .call = option_json, .help = "JSON instead of text" },
    { 0 },
};
static const struct vmm_option json_option[] = {
    { .name = "json", .call = option_json, .help = "JSON instead of text" },
    { 0 },
};

static int command_completion(struct session *s);
static int command_man(struct session *s);

/* The model of run's and plan's rows is the session's: see find_command(). */
static const struct command commands[] = {
    { .row = { .name = "run", .summary = "run a virtual machine", .operands = vmm_operands_run },
      .run = vmm_command_run,
      .run_options = true },
    { .row = { .name = "plan",
               .summary = "tell what run would make, without running it; needs no KVM",
               .options = options_plan,
               .operands = vmm_operands_run },
      vmm_command_plan,
      true },
    { .row = { .name = "abi",
               .summary = "tell everything a guest could see, for comparison",
               .text = "Address map, devices, PCI, ACPI tables or device tree, registers and "
                       "memory at a kernel's entry, and each processor (CPUID, MSRs; ID "
                       "registers).\n\nvmm abi diff FILE FILE compares two reports, vmm abi "
                       "--diff FILE [OPTION...] KERNEL one with a configuration: a line for each "
                       "difference, exit code 1 if there are any.",
               .options = options_abi,
               .operands = vmm_operands_run },
      vmm_command_abi,
      true },
    { .row = { .name = "device",
               .summary = "serve a device to another VMM, over vhost-user",
               .text = "One device, or several with the word -- between them, each in a process "
                       "of its own.\n\nA front end that goes away may come back.",
               .options = vmm_options_device,
               .operands = vmm_operands_device },
      .run = vmm_command_device,
      .part = vmm_device_part },
    { .row = { .name = "doctor",
               .summary = "tell what this host can do, and how to mend what it cannot",
               .options = json_option },
      .run = vmm_command_doctor },
    { .row = { .name = "stop", .summary = "stop a machine at once", .operands = socket_operand },
      .run = vmm_verb_stop },
    { .row = { .name = "powerbtn",
               .summary =
                   "press the power button (Debian's cloud kernels for Arm have no driver for it)",
               .operands = socket_operand },
      .run = vmm_verb_powerbtn },
    { .row = { .name = "pause", .summary = "pause a machine", .operands = socket_operand },
      .run = vmm_verb_pause },
    { .row = { .name = "resume",
               .summary = "let a paused machine run on",
               .operands = socket_operand },
      .run = vmm_verb_resume },
    { .row = { .name = "info",
               .summary = "tell what a machine is and does",
               .operands = socket_operand },
      .run = vmm_verb_info },
    { .row = { .name = "events",
               .summary = "tell each event as a line of JSON, until the machine ends",
               .operands = socket_operand },
      .run = vmm_verb_events },
    { .row = { .name = "set",
               .summary = "change a property of a running device",
               .operands = set_operands },
      .run = vmm_verb_set },
    { .row = { .name = "remove",
               .summary = "take a device out of a running machine, as if it was pulled out",
               .operands = remove_operands },
      .run = vmm_verb_remove },
    { .row = { .name = "upgrade",
               .summary = "replace the process of a running device by another program's",
               .text = "What the device was told and what it has taken goes to the new process; "
                       "the guest sees a pause. One that ends within three seconds, or does not "
                       "come to serve the device, is replaced by the old program's again, and the "
                       "command fails.",
               .options = options_upgrade,
               .operands = upgrade_operands },
      .run = vmm_verb_upgrade },
    { .row = { .name = "move",
               .summary = "move a running device between the VMM and a process of its own",
               .text = "The device goes on where it was, with what the guest has told it and the "
                       "files that were opened for it; the guest sees a pause. Where the device "
                       "cannot be served there, it stays where it was, and the command fails.",
               .options = options_move,
               .operands = move_operands },
      .run = vmm_verb_move },
    { .row = { .name = "balloon",
               .summary = "tell a guest's memory statistics, or change how large its balloon is",
               .text = "With SIZE the guest is asked to do without that much memory; it gives what "
                       "it can spare, in its own time. Without, the guest's driver is asked for "
                       "statistics, which are printed with the size of the balloon.",
               .options = options_balloon,
               .operands = balloon_operands },
      .run = vmm_verb_balloon },
    { .row = { .name = "announce",
               .summary = "announce a guest on its networks, as after it has come to this host",
               .text =
                   "Switches hear where the guest's MAC address is (by RARP), and a guest whose "
                   "driver can do so tells its IP addresses (by gratuitous ARP and IPv6 "
                   "neighbour advertisements). A device in a program of others (vhost-user) "
                   "needs one that takes SEND_RARP.",
               .operands = announce_operands },
      .run = vmm_verb_announce },
    { .row = { .name = "cancel",
               .summary = "cancel a job, as a pause that takes long",
               .operands = cancel_operands },
      .run = vmm_verb_cancel },
    { .row = { .name = "vsock",
               .summary = "connect standard input and output to a port of the guest's",
               .text = "vmm vsock connect SOCKET PORT: what comes in goes to the program of the "
                       "guest, what that sends comes out. The end of the input is the end of its "
                       "input; its own end ends the command.",
               .options = vsock_options,
               .operands = vsock_operands },
      .run = vmm_command_vsock },
    { .row = { .name = "completion",
               .summary = "print a shell's completion script",
               .operands = shell_operand },
      .run = command_completion },
    { .row = { .name = "man", .summary = "print the manual page" }, .run = command_man },
    { .row = { .name = "version", .summary = "print the version", .options = json_option },
      .run = command_version },
};

/* The table as the config library wants it, its names with the program's before them; some commands have run's options besides
 * their own. */
enum { OPTIONS_MAX = 64, COMMAND_NAME_MAX = 32 };
struct program {
    struct vmm_program row;
    struct vmm_option options[VM_ARRAY_SIZE(commands)][OPTIONS_MAX];
    struct vmm_command command[VM_ARRAY_SIZE(commands) + 1];
    char name[VM_ARRAY_SIZE(commands)][COMMAND_NAME_MAX];
};

/* Options of devices that this build does not have are left out. */
static bool exists(const struct vmm_config_model *model, const struct vmm_option *option)
{
    const struct vm_prop *prop;
    void *object;

    return !option->path || !vmm_config_find(model, NULL, option->path, &prop, &object);
}

static const struct vmm_option *join_options(const struct vmm_config_model *model,
                                             struct vmm_option to[OPTIONS_MAX],
                                             const struct vmm_option *own,
                                             const struct vmm_option *run)
{
    const struct vmm_option *lists[] = { own, run };
    unsigned n = 0;

    for (unsigned i = 0; i < VM_ARRAY_SIZE(lists); i++)
        for (const struct vmm_option *o = lists[i]; o && o->name && n + 1 < OPTIONS_MAX; o++)
            if (exists(model, o))
                to[n++] = *o;
    return to;
}

/* Command i, with room for its name and options. */
static void make_command(struct vmm_command *to, char name[COMMAND_NAME_MAX],
                         struct vmm_option options[OPTIONS_MAX], const struct session *s, size_t i)
{
    snprintf(name, COMMAND_NAME_MAX, "vmm %s", commands[i].row.name);
    *to = commands[i].row;
    to->name = name;
    to->model = &s->model.model;
    if (commands[i].run_options)
        to->options =
            join_options(&s->model.model, options, commands[i].row.options, vmm_options_run);
}

static void make_program(struct program *p, const struct session *s)
{
    memset(p, 0, sizeof(*p));
    for (size_t i = 0; i < VM_ARRAY_SIZE(commands); i++)
        make_command(&p->command[i], p->name[i], p->options[i], s, i);
    p->row = (struct vmm_program){ .name = "vmm",
                                   .version = VMM_VERSION,
                                   .summary = "virtual machine monitor for Linux/KVM",
                                   .commands = p->command };
}

static int command_completion(struct session *s)
{
    static const char *const shells[] = { "bash", "zsh", "fish" };
    struct vm_buffer b = { 0 };
    struct program p;

    make_program(&p, s);
    for (unsigned i = 0; i < VM_ARRAY_SIZE(shells); i++)
        if (!strcmp(s->values[0], shells[i]))
            return print_buffer(&b, vmm_config_completion(&p.row, (enum vmm_config_shell)i, &b));
    vm_fail(-EINVAL, "completion: no shell '%s': there are bash, zsh and fish", s->values[0]);
    return vmm_command_fail(-EINVAL);
}

static int command_man(struct session *s)
{
    struct vm_buffer b = { 0 };
    struct program p;

    make_program(&p, s);
    return print_buffer(&b, vmm_config_man(&p.row, &b));
}

static int help_program(struct session *s)
{
    struct vm_buffer b = { 0 };
    struct program p;

    make_program(&p, s);
    return print_buffer(&b, vmm_config_help_program(&p.row, 0, &b));
}

static int unknown_command(const char *name)
{
    const char *names[VM_ARRAY_SIZE(commands) + 1] = { NULL };
    const char *near;

    for (size_t i = 0; i < VM_ARRAY_SIZE(commands); i++)
        names[i] = commands[i].row.name;
    near = vm_nearest(name, strlen(name), names);
    vm_fail(-EINVAL, "there is no command '%.64s'%s%s%s vmm --help lists them", name,
            near ? ", did you mean '" : ":", near ? near : "", near ? "'?" : "");
    return vmm_command_fail(-EINVAL);
}

/* "vmm abi diff FILE FILE" takes no more; otherwise "vmm abi diff FILE ..." is "vmm abi --diff FILE ...". Gives the number of words
 * it took. */
static int take_diff(struct session *s, int argc, char *argv[])
{
    if (argc < 1 || strcmp(argv[0], "diff"))
        return 0;
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
        return 1;
    if (argc < 2 || !*argv[1] || argv[1][0] == '-')
        return vm_fail(-EINVAL, "vmm abi diff: FILE is missing: the earlier report (a kernel of "
                                "that name is ./diff)");
    s->compare = argv[1];
    if (argc != 3 || !*argv[2] || argv[2][0] == '-')
        return 2;
    s->compare_with = argv[2];
    return 3;
}

/* All words at once, or in the command's parts. */
static int parse(struct session *s, const struct command *own, const struct vmm_command *command,
                 int argc, char *argv[], struct vm_buffer *out)
{
    int rc = 0, n;

    if (!own->part)
        return vmm_config_parse_args(command, s->config, s, argc, argv, out);
    for (;; argc -= n + 1, argv += n + 1) {
        for (n = 0; n < argc && strcmp(argv[n], "--"); n++)
            ;
        rc = own->part(s);
        if (!rc)
            rc = vmm_config_parse_args(command, s->config, s, n, argv, out);
        if (rc || n == argc)
            return rc;
    }
}

/* Not the whole program: its tables cost more than a small guest. */
static int run_command(struct session *s, size_t i, int argc, char *argv[])
{
    struct vmm_option options[OPTIONS_MAX] = { 0 };
    struct vm_buffer out = { 0 };
    char name[COMMAND_NAME_MAX];
    struct vmm_command command;
    int rc = commands[i].run == vmm_command_abi ? take_diff(s, argc, argv) : 0;

    make_command(&command, name, options, s, i);
    if (rc >= 0)
        rc = parse(s, &commands[i], &command, argc - rc, argv + rc, &out);
    if (!rc)
        rc = vmm_options_settle_root(s);
    if (!rc)
        rc = vmm_options_settle_net(s);
    if (rc > 0)
        return print_buffer(&out, 0);
    vm_buffer_free(&out);
    return rc ? vmm_command_fail(rc) : commands[i].run(s);
}

/* "vmm help COMMAND" is "vmm COMMAND --help". */
static int help_command(struct session *s, const char *name)
{
    static char option[] = "--help";
    char *argv[] = { option, NULL };

    for (size_t i = 0; i < VM_ARRAY_SIZE(commands); i++)
        if (!strcmp(commands[i].row.name, name))
            return run_command(s, i, 1, argv);
    return unknown_command(name);
}

static int dispatch(struct session *s, int argc, char *argv[])
{
    const char *name = argc > 1 ? argv[1] : "--help";

    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))
        return argc > 2 ? help_command(s, argv[2]) : help_program(s);
    if (!strcmp(name, "--version") || !strcmp(name, "-V"))
        name = "version";
    for (size_t i = 0; i < VM_ARRAY_SIZE(commands); i++)
        if (!strcmp(commands[i].row.name, name))
            return run_command(s, i, argc - 2, argv + 2);
    return unknown_command(name);
}

int vmm_control_main(int argc, char *argv[])
{
    struct session s = { 0 };
    int code, rc = vm_fd_sanitize();

    vm_shed_when_freed();
    /* Both come as errors of the write as well: a reader that left, a limit on a disk's file. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (!rc)
        rc = vmm_run_model_new(&s.model);
    if (rc)
        return vmm_command_fail(rc);
    s.config = vmm_run_config_new(&s.model);
    code = s.config ? dispatch(&s, argc, argv) : vmm_command_fail(-ENOMEM);
    free(s.part);
    vmm_run_config_free(&s.model, s.config);
    vmm_run_model_free(&s.model);
    return code;
}
