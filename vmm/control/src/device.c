/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm device NAME [KEY=VALUE...] --socket PATH | --fd N [-- NAME ...]: devices as vhost-user back ends
 * (docs/vhost-user.md; "Backend program conventions" of the specification). Several devices have a process each: what a front end
 * does to one of them reaches no other.
 */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/config/args.h>
#include <vmm/control/control.h>
#include <vmm/virtio/device.h>

#include "commands.h"
#include "options.h"
#include "run.h"

static struct device_part *current(struct session *s)
{
    return &s->part[s->parts - 1];
}

int vmm_device_part(struct session *s)
{
    if (!s->part)
        s->part = calloc(DEVICE_PARTS_MAX, sizeof(*s->part));
    if (!s->part)
        return vm_fail(-ENOMEM, "out of memory");
    if (s->parts == DEVICE_PARTS_MAX)
        return vm_fail(-EINVAL, "vmm device: more than %d devices in one call", DEVICE_PARTS_MAX);
    s->part[s->parts++] = (struct device_part){ .text = "" };
    return 0;
}

static int add_text(struct session *s, const char *key, const char *value)
{
    char *text = current(s)->text;
    size_t len = strlen(text);

    if ((size_t)snprintf(text + len, DEVICE_TEXT_MAX - len, "%s%s%s", len ? "," : "", key, value) >=
        DEVICE_TEXT_MAX - len)
        return vm_fail(-EINVAL, "vmm device: the device's options are longer than %d bytes",
                       DEVICE_TEXT_MAX - 1);
    return 0;
}

/* The first word is the name; it comes before what options have added. */
static int operand_name(void *ctx, const struct vmm_option *option, const char *value)
{
    char rest[DEVICE_TEXT_MAX];
    struct session *s = ctx;

    (void)option;
    memcpy(rest, current(s)->text, sizeof(rest));
    current(s)->text[0] = 0;
    if (add_text(s, "", value))
        return -EINVAL;
    return rest[0] ? add_text(s, "", rest) : 0;
}

static int operand_key(void *ctx, const struct vmm_option *option, const char *value)
{
    (void)option;
    if (!strchr(value, '='))
        return vm_fail(-EINVAL, "vmm device: '%.64s' is not KEY=VALUE", value);
    return add_text(ctx, "", value);
}

static int option_socket(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    current(s)->socket = value;
    return 0;
}

static int option_fd(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    current(s)->fd = value;
    return 0;
}

static int option_channel(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    current(s)->channel = value;
    return 0;
}

static int option_jail(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    current(s)->jail = value;
    return 0;
}

static int option_ledger(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    current(s)->ledger = value;
    return 0;
}

static int option_counters(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    current(s)->counters = value;
    return 0;
}

static int option_capabilities(void *ctx, const struct vmm_option *option, const char *value)
{
    struct session *s = ctx;

    (void)option;
    (void)value;
    current(s)->print_capabilities = true;
    return 0;
}

static int option_file(void *ctx, const struct vmm_option *option, const char *value)
{
    (void)option;
    return add_text(ctx, "path=", value);
}

static int option_readonly(void *ctx, const struct vmm_option *option, const char *value)
{
    (void)option;
    (void)value;
    return add_text(ctx, "readonly=on", "");
}

const struct vmm_option vmm_options_device[] = {
    { .group = "Connection",
      .name = "socket",
      .letter = 's',
      .call = option_socket,
      .argument = "PATH",
      .alias_crosvm = "socket-path",
      .help = "vhost-user socket to listen on" },
    { .name = "fd",
      .call = option_fd,
      .argument = "N",
      .help = "vhost-user socket that was opened before: connected, or listening" },
    { .name = "channel",
      .call = option_channel,
      .argument = "N",
      .help = "control channel of the VMM that started this process; not for people" },
    { .name = "jail",
      .call = option_jail,
      .argument = "N",
      .help = "the jail that it made for this process; not for people" },
    { .name = "ledger",
      .call = option_ledger,
      .argument = "N",
      .help = "what the last process of this device knew; not for people" },
    { .name = "counters",
      .call = option_counters,
      .argument = "N",
      .help = "where its VMM reads what this device counts; not for people" },
    { .name = "print-capabilities",
      .call = option_capabilities,
      .help = "print what this back end is as JSON and exit" },
    { .group = "As other back ends call it",
      .name = "blk-file",
      .call = option_file,
      .argument = "FILE",
      .help = "virtio-blk: path=FILE" },
    { .name = "read-only", .call = option_readonly, .help = "virtio-blk: readonly=on" },
    OPTIONS_SANDBOX("jailed by all walls there are; thread: by filters and without rights only; "
                    "off: not at all"),
    { .group = "Messages",
      .name = "log-level",
      .path = "log_level",
      .argument = "LEVEL",
      .help = "error, warn, info or debug" },
    { 0 },
};
const struct vmm_option vmm_operands_device[] = {
    { .name = "NAME",
      .call = operand_name,
      .argument = "NAME[,KEY=VALUE,...]",
      .required = true,
      .help = "virtio device, with the keys of vmm run's --device; 'NAME,help' lists them" },
    { .name = "KEY=VALUE",
      .call = operand_key,
      .argument = "KEY=VALUE",
      .many = true,
      .help = "more keys" },
    { 0 },
};

/* ---- what was asked for ---- */

static bool can_serve(const struct vdev_class *cls)
{
    return cls && cls->kind == VDEV_VIRTIO && cls->placements & VDEV_PROCESS;
}

/* "rng" is virtio-rng: other back ends are called so. */
static int find_class(struct device_part *part, const struct vdev_class **ret_class)
{
    size_t len = strcspn(part->text, ",");
    char name[64];

    *ret_class = vdev_class_find(part->text, len);
    if (!*ret_class && snprintf(name, sizeof(name), "virtio-%.*s", (int)len, part->text) > 0) {
        *ret_class = vdev_class_find(name, strlen(name));
        if (*ret_class && strlen(part->text) + sizeof("virtio-") <= sizeof(part->text)) {
            memmove(part->text + 7, part->text, strlen(part->text) + 1);
            memcpy(part->text, "virtio-", 7);
        }
    }
    if (!*ret_class)
        return vm_fail(-EINVAL,
                       "vmm device: there is no device '%.*s'; vmm run --device help lists them",
                       (int)len, part->text);
    if (!can_serve(*ret_class))
        return vm_fail(-EINVAL,
                       "vmm device: %s cannot be served: only virtio devices speak vhost-user",
                       (*ret_class)->name);
    return 0;
}

/* VHostUserBackendType of QEMU's docs/interop/vhost-user.json. */
static int print_capabilities(const struct vdev_class *cls)
{
    const char *type = !strcmp(cls->name, "virtio-blk") ? "block" : cls->name + strlen("virtio-");
    const char *features = !strcmp(cls->name, "virtio-blk") ? "\"read-only\", \"blk-file\"" : "";
    char text[128];
    int n = snprintf(text, sizeof(text), "{\n  \"type\": \"%s\",\n  \"features\": [%s]\n}\n", type,
                     features);

    return vmm_command_print(text, (size_t)n);
}

/* Where a device sits is its front end's affair. */
static int check_common(const struct vdev_class *cls, const void *config)
{
    const struct vdev_common *common = config;

    if (common->addr || common->bus != VDEV_BUS_AUTO || common->pci_segment || common->placement)
        return vm_fail(
            -EINVAL,
            "vmm device: %s: bus, addr, pci_segment and placement are the front end's to "
            "choose",
            cls->name);
    if (cls->jail_more && cls->jail_more(config))
        return vm_fail(
            -ENOTSUP,
            "vmm device: %s: vhost=on is for vmm run; with another VMM as the front end, "
            "have that one use the kernel's vhost",
            cls->name);
    return 0;
}

static int fd_number(const char *option, const char *text, int *ret_fd)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (end == text || *end || n < 0 || n > INT_MAX)
        return vm_fail(-EINVAL, "vmm device: %s %.32s: a number is needed", option, text);
    if (fcntl((int)n, F_SETFD, FD_CLOEXEC))
        return errno == EBADF ? vm_fail(-EINVAL, "vmm device: %s %ld is not open here", option, n)
                              : vm_fail_errno("vmm device: %s %ld", option, n);
    *ret_fd = (int)n;
    return 0;
}

/* What the VMM gave beside the socket. */
static int take_more(const struct device_part *part, struct device_service *service)
{
    int rc = part->channel ? fd_number("--channel", part->channel, &service->channel_fd) : 0;

    if (!rc && part->jail)
        rc = fd_number("--jail", part->jail, &service->profile_fd);
    if (!rc && part->counters)
        rc = fd_number("--counters", part->counters, &service->counters_fd);
    return rc || !part->ledger ? rc : fd_number("--ledger", part->ledger, &service->ledger_fd);
}

static int take_fd(const char *text, int *ret_fd)
{
    int type = 0, n = -1, rc = fd_number("--fd", text, &n);
    socklen_t len = sizeof(type);

    if (rc)
        return rc;
    if (getsockopt(n, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM)
        return vm_fail(-EINVAL, "vmm device: --fd %d is not a stream socket", n);
    if (fcntl(n, F_SETFL, O_NONBLOCK))
        return vm_fail_errno("vmm device: --fd %d", n);
    *ret_fd = n;
    return 0;
}

static int open_socket(const struct device_part *part, struct device_service *service)
{
    if (!part->socket == !part->fd)
        return vm_fail(-EINVAL, "vmm device: %s: give one of --socket PATH and --fd N",
                       service->cls->name);
    if (part->fd)
        return take_fd(part->fd, &service->fd);
    return vmm_listener_open(part->socket, 1, &service->listener);
}

/* Part n, its keys as an element of the configuration's devices. 0, VMM_CONFIG_HELP, -errno. */
static int make_service(struct session *s, unsigned n, struct device_service *service,
                        char id[VDEV_ID_MAX + 1])
{
    static const struct vmm_option keys = { .name = "device",
                                            .path = "devices",
                                            .argument = "NAME" };
    struct vm_buffer text = { 0 };
    const struct vm_prop_variant *v;
    int rc = find_class(&s->part[n], &service->cls);

    if (rc)
        return rc;
    rc = vmm_config_apply(&s->model.model, &keys, s->config, "vmm device", s->part[n].text, &text);
    if (rc > 0)
        vmm_command_print((const char *)text.data, text.len);
    vm_buffer_free(&text);
    if (rc)
        return rc;
    v = (const struct vm_prop_variant *)s->config->devices.items + s->config->devices.count - 1;
    rc = vm_prop_check(service->cls->props, v->object, service->cls->name);
    if (!rc)
        rc = check_common(service->cls, v->object);
    if (!rc)
        rc = vmm_run_check_fds(service->cls, v->object);
    if (rc)
        return rc;
    if (service->cls->settle) {
        struct vm_env env;

        vm_env_host(VM_LOG_WARN, &env);
        rc = service->cls->settle(&env, v->object);
        if (rc)
            return rc;
    }
    service->config = v->object;
    vdev_id_make(service->cls, n, id);
    service->id = ((const struct vdev_common *)v->object)->id;
    if (!service->id)
        service->id = id;
    service->log_level = s->config->log_level;
    service->namespaces = s->config->sandbox == RUN_SANDBOX_PROCESS;
    rc = take_more(&s->part[n], service);
    return rc ? rc : open_socket(&s->part[n], service);
}

static void close_service(struct device_service *service)
{
    if (service->listener.path[0])
        vmm_listener_close(&service->listener);
    vm_close(&service->fd);
}

/* A front end may share 512 regions, and each ring has three descriptors. */
static void raise_limit(void)
{
    struct rlimit files;

    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* Until somebody takes them: one that comes behind the making of a socket must not leave it behind. */
static void hold_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int vmm_command_device(struct session *s)
{
    struct device_service service[DEVICE_PARTS_MAX];
    const struct vmm_machine_sandbox sandbox = {
        .filters = s->config->sandbox != RUN_SANDBOX_OFF,
        .action = (enum vmm_jail_action)s->config->seccomp,
        .policy_dir = s->config->policy_dir,
    };
    char id[DEVICE_PARTS_MAX][VDEV_ID_MAX + 1];
    unsigned n;
    int rc = 0, code;

    for (n = 0; n < s->parts; n++)
        if (s->part[n].print_capabilities) {
            rc = find_class(&s->part[n], &service[0].cls);
            return rc ? vmm_command_fail(rc) : print_capabilities(service[0].cls);
        }
    if (!sandbox.filters && sandbox.policy_dir)
        return vmm_command_fail(
            vm_fail(-EINVAL, "--seccomp-policy-dir with --sandbox off: there are no filters; leave "
                             "one of them out"));
    hold_signals();
    for (n = 0; !rc && n < s->parts; n++) {
        service[n] = (struct device_service){ .fd = -1,
                                              .channel_fd = -1,
                                              .profile_fd = -1,
                                              .ledger_fd = -1,
                                              .counters_fd = -1,
                                              .listener = { .fd = -1 } };
        rc = make_service(s, n, &service[n], id[n]);
    }
    raise_limit();
    if (rc)
        code = rc > 0 ? VMM_EXIT_OK : vmm_command_fail(rc);
    else
        code = vmm_device_serve_all(service, n, &sandbox);
    while (n)
        close_service(&service[--n]);
    return code;
}
