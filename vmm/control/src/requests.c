/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Requests of the control socket. */
#include "requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/config/json.h>

#include "balloon.h"
#include "upgrade.h"

enum { JOBS_MAX = 16 }; /* that info lists */

static char *dump(json_t *answer)
{
    char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

    json_decref(answer);
    return text ? text : strdup("{\"error\":{\"code\":-12,\"text\":\"out of memory\"}}");
}

static char *answer_result(json_t *result)
{
    return dump(json_pack("{s:o}", "result", result ? result : json_null()));
}

static json_t *error_json(int code, const char *text)
{
    return json_pack("{s:{s:i,s:s}}", "error", "code", code, "text", text);
}

static const char *to_ascii(const char *text, char ret_ascii[static VM_ERROR_TEXT])
{
    size_t i = 0;

    for (; i + 1 < VM_ERROR_TEXT && text[i]; i++)
        ret_ascii[i] = (char)(text[i] & 0x80 ? '?' : text[i]);
    ret_ascii[i] = 0;
    return ret_ascii;
}

/* A text that quotes bytes of the client's may be no UTF-8, which JSON must be. */
static char *answer_error(int code)
{
    json_t *error = error_json(code, vm_error_text());
    char ascii[VM_ERROR_TEXT];

    return dump(error ? error : error_json(code, to_ascii(vm_error_text(), ascii)));
}

static char *answer(int code)
{
    return code ? answer_error(code) : answer_result(NULL);
}

static void lack_json(void *ctx, const char *stage, const char *why)
{
    char ascii[VM_ERROR_TEXT];

    json_array_append_new(ctx, json_pack("{s:s,s:s}", "stage", stage, "why", to_ascii(why, ascii)));
}

static void metric_json(void *ctx, const char *name, uint64_t value)
{
    json_object_set_new(ctx, name, json_integer((json_int_t)value));
}

static json_t *device_json(struct vmm_machine *m, struct vdev *dev)
{
    json_t *metrics = json_object(), *process = json_object(), *lacks = json_array(), *row;
    char place[64];

    vmm_machine_metrics(m, dev, metric_json, metrics);
    vmm_machine_place(m, dev, place, sizeof(place));
    row = json_pack("{s:s,s:s,s:s,s:s,s:b,s:o}", "id", dev->id, "class", dev->cls->name, "place",
                    place, "placement", vmm_machine_placement(m, dev), "broken",
                    (int)__atomic_load_n(&dev->broken, __ATOMIC_RELAXED), "metrics", metrics);
    if (vmm_machine_jail_lacks(m, dev, lack_json, lacks))
        json_object_set(row, "jail_lacks", lacks);
    if (vmm_machine_process_metrics(m, dev, metric_json, process))
        json_object_set(row, "process", process);
    json_decref(lacks);
    json_decref(process);
    return row;
}

struct info_ctx {
    struct vmm_machine *machine;
    json_t *rows;
};

static void info_device(void *ctx, struct vdev *dev)
{
    struct info_ctx *c = ctx;

    json_array_append_new(c->rows, device_json(c->machine, dev));
}

/* What takes its time and is under way. */
static json_t *jobs_json(struct vmm_machine *m, uint64_t now_ns)
{
    struct vm_job_info row[JOBS_MAX];
    size_t n = vm_jobs_list(vmm_machine_jobs(m), row, JOBS_MAX);
    json_t *rows = json_array();

    for (size_t i = 0; i < n && i < JOBS_MAX; i++)
        json_array_append_new(rows, json_pack("{s:I,s:s,s:I,s:I,s:I}", "job", (json_int_t)row[i].id,
                                              "what", row[i].name, "age_ms",
                                              (json_int_t)((now_ns - row[i].started_ns) / 1000000),
                                              "done", (json_int_t)row[i].done, "total",
                                              (json_int_t)row[i].total));
    return rows;
}

static json_t *ended_row(const struct vm_job_ended *job, const char *text)
{
    return json_pack("{s:I,s:s,s:i,s:s*,s:I}", "job", (json_int_t)job->id, "what", job->name,
                     "code", job->result.code, "text", job->result.code ? text : NULL, "took_ms",
                     (json_int_t)((job->ended_ns - job->started_ns) / 1000000));
}

static json_t *ended_json(const struct vm_job_ended *job)
{
    char ascii[VM_ERROR_TEXT];
    json_t *row = ended_row(job, job->result.text);

    return row ? row : ended_row(job, to_ascii(job->result.text, ascii));
}

/* How the last jobs ended: for who asks later than it happened. */
static json_t *all_ended_json(struct vmm_machine *m, uint64_t now_ns)
{
    struct vm_job_ended row[VM_JOBS_ENDED];
    size_t n = vm_jobs_ended(vmm_machine_jobs(m), row, VM_JOBS_ENDED);
    json_t *rows = json_array();

    for (size_t i = 0; i < n; i++) {
        json_t *json = ended_json(&row[i]);

        json_object_set_new(json, "age_ms",
                            json_integer((json_int_t)((now_ns - row[i].ended_ns) / 1000000)));
        json_array_append_new(rows, json);
    }
    return rows;
}

static void send_event(const struct request_events *events, json_t *event)
{
    char *line = event ? json_dumps(event, JSON_COMPACT) : NULL;

    if (line)
        events->event(events->ctx, line);
    free(line);
    json_decref(event);
}

static void tell_end(void *ctx, const struct vm_job_ended *job)
{
    json_t *row = ended_json(job), *event = json_pack("{s:s}", "event", "job-ended");

    if (row && event && !json_object_update(event, row))
        send_event(ctx, json_incref(event));
    json_decref(row);
    json_decref(event);
}

static json_t *event_json(enum vmm_event event, const char *source, const char *text)
{
    return json_pack("{s:s,s:s,s:s*}", "event", vmm_event_name(event), "source", source, "text",
                     *text ? text : NULL);
}

void vmm_requests_tell(const struct request_events *events, enum vmm_event event,
                       const char *source, const char *text)
{
    char ascii[VM_ERROR_TEXT];
    json_t *row = event_json(event, source, text);

    send_event(events, row ? row : event_json(event, source, to_ascii(text, ascii)));
}

void vmm_requests_listen(struct vmm_machine *m, const struct request_events *events)
{
    vm_jobs_listen(vmm_machine_jobs(m), events ? tell_end : NULL, (void *)(uintptr_t)events);
}

static json_t *broken_json(const struct vmm_machine_info *i)
{
    json_t *rows = json_array();

    for (unsigned n = 0; n < i->brokens; n++)
        json_array_append_new(
            rows, json_pack("{s:I,s:I,s:i}", "base", (json_int_t)i->broken[n].base, "bytes",
                            (json_int_t)i->broken[n].bytes, "mended", (int)i->broken[n].mended));
    return rows;
}

static char *info(struct vmm_machine *m)
{
    struct info_ctx c = { m, json_array() };
    struct vmm_machine_info i;

    vmm_machine_get_info(m, &i);
    vmm_machine_walk_devices(m, info_device, &c);
    return answer_result(json_pack(
        "{s:s,s:s,s:i,s:I,s:o,s:{s:I,s:I,s:I,s:I},s:o,s:o,s:o}", "version", VMM_VERSION, "state",
        i.end       ? vmm_end_name(i.end)
        : i.paused  ? "paused"
        : i.running ? "running"
                    : "changing",
        "cpus", (int)i.cpus, "memory", (json_int_t)i.memory_bytes, "broken_memory", broken_json(&i),
        "exits", "all", (json_int_t)i.exits, "pio", (json_int_t)i.exits_pio, "mmio",
        (json_int_t)i.exits_mmio, "unclaimed", (json_int_t)i.unclaimed, "jobs",
        jobs_json(m, i.now_ns), "ended", all_ended_json(m, i.now_ns), "devices", c.rows));
}

/* One pause or removal at a time: the machine says -EBUSY to a second one, so this is the only waiter. */
static void answer_waiter(void *ctx, int code)
{
    struct request_reply *reply = ctx;
    char *line = answer(code);

    if (reply->ctx && line)
        reply->done(reply->ctx, line);
    free(line);
    free(reply);
}

/* For what answers later; NULL with text. */
static struct request_reply *new_waiter(const struct request_reply *reply)
{
    struct request_reply *copy = malloc(sizeof(*copy));

    if (copy)
        *copy = *reply;
    else
        vm_fail(-ENOMEM, "out of memory");
    return copy;
}

/* What was asked for the waiter (NULL: nothing was) is under way, or cannot be. */
static char *begun(struct request_reply *waiter, int rc)
{
    if (waiter && !rc)
        return NULL;
    free(waiter);
    return answer(waiter ? rc : -ENOMEM);
}

static char *pause_machine(struct vmm_machine *m, const struct request_reply *reply)
{
    struct request_reply *waiter = new_waiter(reply);

    return begun(waiter, waiter ? vmm_machine_pause(m, answer_waiter, waiter) : 0);
}

static char *upgrade(struct vmm_machine *m, const json_t *root, const struct request_reply *reply)
{
    const char *id = json_string_value(json_object_get(root, "id"));
    const char *binary = json_string_value(json_object_get(root, "binary"));
    struct request_reply *waiter;
    int fd, rc;

    if (!id || !binary)
        return answer(vm_fail(-EINVAL, "upgrade: give id and binary as strings, as in "
                                       "{\"verb\":\"upgrade\",\"id\":\"all\","
                                       "\"binary\":\"/usr/bin/vmm\"}"));
    fd = vmm_upgrade_open(binary);
    if (fd < 0)
        return answer(fd);
    waiter = new_waiter(reply);
    rc = waiter ? vmm_machine_upgrade(m, id, fd, answer_waiter, waiter) : 0;
    vm_close(&fd);
    return begun(waiter, rc);
}

static char *move(struct vmm_machine *m, const json_t *root, const struct request_reply *reply)
{
    const char *id = json_string_value(json_object_get(root, "id"));
    const char *to = json_string_value(json_object_get(root, "placement"));
    bool thread = to && !strcmp(to, vdev_place_choices[VDEV_PLACE_THREAD]);
    struct request_reply *waiter;

    if (!id || !to || (!thread && strcmp(to, vdev_place_choices[VDEV_PLACE_PROCESS]) != 0))
        return answer(vm_fail(-EINVAL, "move: give id as a string, and placement as \"thread\" or "
                                       "\"process\", as in {\"verb\":\"move\",\"id\":"
                                       "\"virtio-rng0\",\"placement\":\"thread\"}"));
    waiter = new_waiter(reply);
    return begun(waiter, waiter ? vmm_machine_move(m, id, thread, answer_waiter, waiter) : 0);
}

static char *remove_device(struct vmm_machine *m, const json_t *root,
                           const struct request_reply *reply)
{
    const char *id = json_string_value(json_object_get(root, "id"));
    struct request_reply *waiter;

    if (!id)
        return answer(vm_fail(-EINVAL, "remove: give id as a string, as in "
                                       "{\"verb\":\"remove\",\"id\":\"virtio-rng0\"}"));
    waiter = new_waiter(reply);
    return begun(waiter, waiter ? vmm_machine_remove(m, id, answer_waiter, waiter) : 0);
}

static char *announce(struct vmm_machine *m, const json_t *root, const struct request_reply *reply)
{
    const json_t *id = json_object_get(root, "id");
    struct request_reply *waiter;

    if (id && !json_is_string(id))
        return answer(vm_fail(-EINVAL, "announce: id is a string, or left out for all of them, as "
                                       "in {\"verb\":\"announce\",\"id\":\"virtio-net0\"}"));
    waiter = new_waiter(reply);
    return begun(
        waiter, waiter ? vmm_machine_announce(m, json_string_value(id), answer_waiter, waiter) : 0);
}

static void forget(struct request_reply *reply, void *ctx)
{
    if (reply && reply->ctx == ctx)
        reply->ctx = NULL;
}

static void forget_set(void *ctx, void *reply)
{
    forget(reply, ctx);
}

void vmm_requests_forget(struct vmm_machine *m, void *ctx)
{
    forget(vmm_machine_pause_ctx(m), ctx);
    forget(vmm_machine_remove_ctx(m), ctx);
    forget(vmm_machine_upgrade_ctx(m), ctx);
    vmm_machine_walk_sets(m, forget_set, ctx);
    forget(vmm_machine_move_ctx(m), ctx);
    forget(vmm_machine_announce_ctx(m), ctx);
}

/* At once, or by a process. */
static char *set_property(struct vmm_machine *m, const json_t *root,
                          const struct request_reply *reply)
{
    struct request_reply *waiter;
    int rc;

    const char *id = json_string_value(json_object_get(root, "id"));
    const char *value = json_string_value(json_object_get(root, "value"));

    if (!id || !value)
        return answer(vm_fail(-EINVAL,
                              "set: give id and value as strings, as in "
                              "{\"verb\":\"set\",\"id\":\"virtio-rng0\",\"value\":\"KEY=VALUE\"}"));
    waiter = new_waiter(reply);
    rc = waiter ? vmm_machine_set(m, id, value, answer_waiter, waiter) : -ENOMEM;
    if (rc == -EINPROGRESS)
        return NULL;
    free(waiter);
    return answer(rc);
}

/* What it was doing answers its own client, with -ECANCELED. */
static char *cancel(struct vmm_machine *m, const json_t *root)
{
    const json_t *job = json_object_get(root, "job");

    if (!json_is_integer(job) || json_integer_value(job) < 0)
        return answer(vm_fail(-EINVAL, "cancel: give the number of a job that info lists, as in "
                                       "{\"verb\":\"cancel\",\"job\":1}"));
    return answer(vm_job_cancel(vmm_machine_jobs(m), (uint64_t)json_integer_value(job)));
}

static char *balloon(struct vmm_machine *m, const json_t *root)
{
    json_t *result;
    int rc = vmm_balloon_request(m, root, &result);

    return rc ? answer(rc) : answer_result(result);
}

/* What is under way when the events begin: its end will be one of them. */
static char *events(struct vmm_machine *m, const struct request_reply *reply)
{
    struct vmm_machine_info i;

    vmm_machine_get_info(m, &i);
    reply->listen(reply->ctx);
    return answer_result(json_pack("{s:o}", "jobs", jobs_json(m, i.now_ns)));
}

static char *stop(struct vmm_machine *m)
{
    vmm_machine_stop(m);
    return answer(0);
}

static char *perform(struct vmm_machine *m, const json_t *root, const struct request_reply *reply)
{
    const char *verb = json_string_value(json_object_get(root, "verb"));

    if (!verb)
        return answer(vm_fail(-EINVAL, "a request is a JSON object with the key \"verb\""));
    if (!strcmp(verb, "info"))
        return info(m);
    if (!strcmp(verb, "stop"))
        return stop(m);
    if (!strcmp(verb, "powerbtn"))
        return answer(vmm_machine_power_button(m));
    if (!strcmp(verb, "pause"))
        return pause_machine(m, reply);
    if (!strcmp(verb, "resume"))
        return answer(vmm_machine_resume(m));
    if (!strcmp(verb, "set"))
        return set_property(m, root, reply);
    if (!strcmp(verb, "remove"))
        return remove_device(m, root, reply);
    if (!strcmp(verb, "upgrade"))
        return upgrade(m, root, reply);
    if (!strcmp(verb, "move"))
        return move(m, root, reply);
    if (!strcmp(verb, "cancel"))
        return cancel(m, root);
    if (!strcmp(verb, "balloon"))
        return balloon(m, root);
    if (!strcmp(verb, "announce"))
        return announce(m, root, reply);
    if (!strcmp(verb, "events"))
        return events(m, reply);
    return answer(vm_fail(-EINVAL,
                          "there is no verb '%.64s': info, events, stop, powerbtn, pause, resume, "
                          "set, remove, upgrade, move, cancel, balloon, announce",
                          verb));
}

char *vmm_requests_handle(struct vmm_machine *m, const char *untrusted, size_t len,
                          const struct request_reply *reply)
{
    json_error_t where;
    json_t *root = json_loadb(untrusted, len, JSON_REJECT_DUPLICATES, &where);
    char words[VM_ERROR_TEXT], *text;

    if (!root)
        return answer(vm_fail(
            -EINVAL, "the request is no JSON: %.160s (column %d)",
            vmm_config_json_why((int)json_error_code(&where), where.text, words, sizeof(words)),
            where.column));
    text = perform(m, root, reply);
    json_decref(root);
    return text;
}
