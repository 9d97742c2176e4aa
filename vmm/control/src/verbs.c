/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Commands that talk to a running machine: each is one request on its control socket. */
#include "verbs.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <vmm/base/error.h>
#include <vmm/control/control.h>

#include "run.h"
#include "server.h"

/* Prints the result (if there is one) or tells the error. */
static int tell(const char *verb, const char *answer)
{
    json_error_t where;
    json_t *root = json_loads(answer, JSON_REJECT_DUPLICATES, &where);
    json_t *error = root ? json_object_get(root, "error") : NULL, *result;
    int code = VMM_EXIT_OK;

    if (!root || (error && !json_is_string(json_object_get(error, "text")))) {
        json_decref(root);
        vm_fail(-EPROTO, "%s: the answer is no JSON that we understand", verb);
        return vmm_command_fail(-EPROTO);
    }
    if (error) {
        vm_fail(-EIO, "%s: %s", verb, json_string_value(json_object_get(error, "text")));
        code = vmm_command_fail((int)json_integer_value(json_object_get(error, "code")));
        json_decref(root);
        return code;
    }
    result = json_object_get(root, "result");
    if (result && !json_is_null(result)) {
        char *text = json_dumps(result, JSON_INDENT(2));

        if (text)
            code = vmm_command_print(text, strlen(text));
        if (text && !code)
            code = vmm_command_print("\n", 1);
        free(text);
    }
    json_decref(root);
    return code;
}

static int ask(struct session *s, json_t *request)
{
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL, *answer;
    const char *verb = json_string_value(json_object_get(request, "verb"));
    int rc = text ? vmm_server_ask(s->values[0], text, &answer)
                  : vm_fail(-EINVAL, "the arguments must be UTF-8"),
        code;

    if (rc) {
        code = vmm_command_fail(rc);
    } else {
        code = tell(verb, answer);
        free(answer);
    }
    free(text);
    json_decref(request);
    return code;
}

int vmm_verb_stop(struct session *s)
{
    return ask(s, json_pack("{s:s}", "verb", "stop"));
}

int vmm_verb_powerbtn(struct session *s)
{
    return ask(s, json_pack("{s:s}", "verb", "powerbtn"));
}

int vmm_verb_pause(struct session *s)
{
    return ask(s, json_pack("{s:s}", "verb", "pause"));
}

int vmm_verb_resume(struct session *s)
{
    return ask(s, json_pack("{s:s}", "verb", "resume"));
}

int vmm_verb_info(struct session *s)
{
    return ask(s, json_pack("{s:s}", "verb", "info"));
}

/* Lines as they come: the first one is the answer. */
struct events {
    bool answered;
    int code; /* of the program, when it ends before the machine */
};

static int print_event(void *ctx, char *line)
{
    struct events *e = ctx;
    size_t len = strlen(line);

    if (!e->answered) {
        e->answered = true;
        e->code = tell("events", line);
        return e->code ? 1 : 0;
    }
    line[len] = '\n'; /* in the place of its end */
    e->code = vmm_command_print(line, len + 1);
    return e->code ? 1 : 0;
}

int vmm_verb_events(struct session *s)
{
    struct events e = { 0 };
    int rc = vmm_server_follow(s->values[0], "{\"verb\":\"events\"}", print_event, &e);

    return rc < 0 ? vmm_command_fail(rc) : e.code;
}

int vmm_verb_remove(struct session *s)
{
    return ask(s, json_pack("{s:s,s:s}", "verb", "remove", "id", s->values[1]));
}

int vmm_verb_set(struct session *s)
{
    return ask(
        s, json_pack("{s:s,s:s,s:s}", "verb", "set", "id", s->values[1], "value", s->values[2]));
}

/* The VMM may be in another directory; without --binary it is the program that is running here. */
static int find_program(const struct session *s, char ret_path[PATH_MAX])
{
    const char *path = s->binary ? s->binary : "/proc/self/exe";

    return realpath(path, ret_path) ? 0 : vm_fail_errno("upgrade: %s", path);
}

int vmm_verb_upgrade(struct session *s)
{
    char path[PATH_MAX];
    int rc = find_program(s, path);

    if (rc)
        return vmm_command_fail(rc);
    return ask(s,
               json_pack("{s:s,s:s,s:s}", "verb", "upgrade", "id", s->values[1], "binary", path));
}

int vmm_verb_move(struct session *s)
{
    if (!s->placement)
        return vmm_command_fail(vm_fail(-EINVAL, "move: say where to: --placement thread, or "
                                                 "--placement process"));
    return ask(s, json_pack("{s:s,s:s,s:s}", "verb", "move", "id", s->values[1], "placement",
                            s->placement));
}

int vmm_verb_cancel(struct session *s)
{
    long long job;
    char *end;

    errno = 0;
    job = strtoll(s->values[1], &end, 10);
    if (errno || *end || end == s->values[1] || job < 0)
        return vmm_command_fail(vm_fail(
            -EINVAL, "cancel: '%s' is no job: give the number that vmm info lists", s->values[1]));
    return ask(s, json_pack("{s:s,s:I}", "verb", "cancel", "job", (json_int_t)job));
}

int vmm_verb_announce(struct session *s)
{
    return ask(s, json_pack("{s:s,s:s*}", "verb", "announce", "id",
                            s->value_count > 1 ? s->values[1] : NULL));
}
