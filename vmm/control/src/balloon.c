/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The balloon: its request on the control socket, and the command for it.
 *
 * All that is told are metrics of the device. Those that the guest has to be asked for come when it has answered: the command
 * looks again until the number of answers has grown; a guest that does not answer keeps nobody waiting in the VMM.
 */
#include "balloon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vmm/base/error.h>
#include <vmm/control/control.h>

#include "server.h"
#include "verbs.h"

enum { LOOKS = 50, LOOK_MS = 20 };

/* ---- the request ---- */

static uint64_t metric(const struct vdev *dev, const char *name)
{
    const struct vdev_metric *k = dev->cls->metrics;

    while (k->name && strcmp(k->name, name) != 0)
        k++;
    return k->name ? vm_count_get((const uint64_t *)((const char *)dev + k->offset)) : 0;
}

struct search {
    const char *id;
    struct vdev *found;
    unsigned count;
};

static void look_at(void *ctx, struct vdev *dev)
{
    struct search *s = ctx;

    if (strcmp(dev->cls->name, "virtio-balloon") != 0 || (s->id && strcmp(s->id, dev->id) != 0))
        return;
    s->found = dev;
    s->count++;
}

static int find(struct vmm_machine *m, const char *id, struct vdev **ret_dev)
{
    struct search s = { .id = id };

    vmm_machine_walk_devices(m, look_at, &s);
    *ret_dev = s.found;
    if (s.count == 1)
        return 0;
    if (id)
        return vm_fail(-ENOENT,
                       "balloon: '%.63s' is no balloon of this machine: vmm info lists them", id);
    if (s.count)
        return vm_fail(-EINVAL, "balloon: this machine has %u: say which one (id)", s.count);
    return vm_fail(-ENOENT, "balloon: this machine has none: start it with --balloon");
}

static int set_size(struct vmm_machine *m, const struct vdev *dev, const json_t *size)
{
    char text[64];

    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return vm_fail(-EINVAL, "balloon: size is a number of bytes");
    snprintf(text, sizeof(text), "size=%lld", (long long)json_integer_value(size));
    return vmm_machine_set(m, dev->id, text, NULL, NULL);
}

/* Those that the guest has given: the metrics behind stats_at_ns, in the order of their bits. */
static json_t *stats_json(const struct vdev *dev)
{
    const struct vdev_metric *k = dev->cls->metrics;
    uint64_t given = metric(dev, "stats_given");
    json_t *stats = json_object();

    while (k->name && strcmp(k->name, "stats_at_ns") != 0)
        k++;
    for (unsigned bit = 0; k->name && k[bit + 1].name; bit++)
        if (given >> bit & 1)
            json_object_set_new(stats, k[bit + 1].name,
                                json_integer((json_int_t)metric(dev, k[bit + 1].name)));
    return stats;
}

static json_t *balloon_json(struct vmm_machine *m, const struct vdev *dev)
{
    uint64_t answers = metric(dev, "stats_answers"), at = metric(dev, "stats_at_ns");
    struct vmm_machine_info i;
    json_t *row;

    vmm_machine_get_info(m, &i);
    row = json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "id", dev->id, "target",
                    (json_int_t)metric(dev, "target_bytes"), "actual",
                    (json_int_t)metric(dev, "actual_bytes"), "discarded",
                    (json_int_t)metric(dev, "discarded_bytes"), "reported",
                    (json_int_t)metric(dev, "reported_bytes"), "hinted",
                    (json_int_t)metric(dev, "hinted_bytes"), "answers", (json_int_t)answers,
                    "stats", stats_json(dev));
    if (answers && i.now_ns >= at)
        json_object_set_new(row, "stats_age_ms",
                            json_integer((json_int_t)((i.now_ns - at) / 1000000)));
    return row;
}

int vmm_balloon_request(struct vmm_machine *m, const json_t *root, json_t **ret_result)
{
    const json_t *id = json_object_get(root, "id"), *size = json_object_get(root, "size");
    const json_t *again = json_object_get(root, "refresh");
    const uint64_t *answers;
    struct vdev *dev;
    int rc;

    if ((id && !json_is_string(id)) || (again && !json_is_boolean(again)))
        return vm_fail(-EINVAL, "balloon: id is a string, size a number of bytes, refresh true or "
                                "false, as in {\"verb\":\"balloon\",\"size\":1073741824}");
    rc = find(m, json_string_value(id), &dev);
    if (!rc && size)
        rc = set_size(m, dev, size);
    if (rc)
        return rc;
    *ret_result = balloon_json(m, dev);
    /* Whether the guest can answer is not the request's success: what is known is told. */
    if (json_is_true(again))
        json_object_set_new(*ret_result, "asked", json_boolean(!vdev_refresh(dev, &answers)));
    return 0;
}

/* ---- the command ---- */

static int parse_size(const char *text, uint64_t *ret_bytes)
{
    static const struct vm_prop row = { .name = "SIZE", .type = VM_PROP_SIZE };

    return vm_prop_set(&row, ret_bytes, "balloon", text, strlen(text));
}

/* The result of one request, to be freed; NULL: told already, and *ret_code is the program's. */
static json_t *ask(const struct session *s, json_t *request, int *ret_code)
{
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL, *answer = NULL;
    int rc = text ? vmm_server_ask(s->values[0], text, &answer)
                  : vm_fail(-EINVAL, "the arguments must be UTF-8");
    json_t *root = rc ? NULL : json_loads(answer, JSON_REJECT_DUPLICATES, NULL);
    json_t *error = json_object_get(root, "error"), *result = json_object_get(root, "result");

    json_incref(result);
    if (!rc && error) {
        rc = (int)json_integer_value(json_object_get(error, "code"));
        vm_fail(-EIO, "%s", json_string_value(json_object_get(error, "text")));
        rc = rc < 0 ? rc : -EIO;
    } else if (!rc && !json_is_object(result)) {
        rc = vm_fail(-EPROTO, "balloon: the answer is no JSON that we understand");
    }
    *ret_code = rc ? vmm_command_fail(rc) : VMM_EXIT_OK;
    json_decref(root);
    json_decref(request);
    free(text);
    free(answer);
    if (!rc)
        return result;
    json_decref(result);
    return NULL;
}

static json_t *request_of(const struct session *s)
{
    return json_pack("{s:s,s:s*}", "verb", "balloon", "id", s->id);
}

static json_t *number_of(json_t *result, const char *key)
{
    return json_object_get(result, key);
}

/* Asks until the guest has answered; after that, or after a second, the last word is what is known. */
static json_t *ask_for_stats(const struct session *s, int *ret_code)
{
    const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
    json_t *request = request_of(s), *result;
    json_int_t before;
    bool asked;

    json_object_set_new(request, "refresh", json_true());
    result = ask(s, request, ret_code);
    if (!result)
        return NULL;
    before = json_integer_value(number_of(result, "answers"));
    asked = json_is_true(number_of(result, "asked"));
    for (unsigned i = 0; asked && i < LOOKS; i++) {
        json_decref(result);
        nanosleep(&pause, NULL);
        result = ask(s, request_of(s), ret_code);
        if (!result || json_integer_value(number_of(result, "answers")) > before)
            return result;
    }
    return result;
}

static int put_line(const char *key, const json_t *value)
{
    const char *unit = "";
    json_int_t n = json_integer_value(value);
    char line[128];
    int len;

    if (strstr(key, "faults") || strstr(key, "hugetlb") || strstr(key, "oom") ||
        strstr(key, "stall") || strstr(key, "scan") || strstr(key, "reclaim"))
        len = snprintf(line, sizeof(line), "%-20s %lld\n", key, (long long)n);
    else {
        bool mib = n >= 1 << 20;

        unit = mib ? "MiB" : "KiB";
        len = snprintf(line, sizeof(line), "%-20s %lld %s\n", key,
                       (long long)(mib ? n >> 20 : n >> 10), unit);
    }
    return vmm_command_print(line, (size_t)len);
}

static int print_text(json_t *result)
{
    static const char *const own[] = { "target", "actual", "discarded", "reported", "hinted" };
    const char *key;
    json_t *value;
    int code = 0;

    for (unsigned i = 0; !code && i < VM_ARRAY_SIZE(own); i++)
        code = put_line(own[i], number_of(result, own[i]));
    json_object_foreach(number_of(result, "stats"), key, value)
    {
        if (!code)
            code = put_line(key, value);
    }
    return code;
}

static int print_json(json_t *result)
{
    char *text = json_dumps(result, JSON_INDENT(2));
    int code = text ? vmm_command_print(text, strlen(text)) : vmm_command_fail(-ENOMEM);

    if (!code)
        code = vmm_command_print("\n", 1);
    free(text);
    return code;
}

int vmm_verb_balloon(struct session *s)
{
    json_t *result, *request;
    uint64_t bytes = 0;
    int code;

    if (s->value_count < 2) {
        result = ask_for_stats(s, &code);
    } else {
        if (parse_size(s->values[1], &bytes))
            return vmm_command_fail(-EINVAL);
        request = request_of(s);
        json_object_set_new(request, "size", json_integer((json_int_t)bytes));
        result = ask(s, request, &code);
    }
    if (result && (s->json || s->value_count < 2))
        code = s->json ? print_json(result) : print_text(result);
    json_decref(result);
    return code;
}
