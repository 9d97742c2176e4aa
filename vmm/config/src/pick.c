/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Items of an option's text that say which object it is for: "num=2" of --serial (struct vmm_option_pick). */
#include "pick.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

/* The item's length: up to a comma outside of quotes and brackets. */
static size_t item_len(const char *at)
{
    bool quoted = false;
    size_t len = 0, depth = 0;

    for (; at[len] && (quoted || depth || at[len] != ','); len++) {
        quoted ^= at[len] == '"';
        depth += !quoted && at[len] == '[';
        depth -= !quoted && depth && at[len] == ']';
    }
    return len;
}

/* Word for word; or, of a row that refuses a key, by the key. */
static bool is_item(const struct vmm_option_pick *p, const char *item, size_t len)
{
    size_t have = strlen(p->item), key = p->why && have ? have - 1 : have;

    if (have == len && !strncmp(p->item, item, len))
        return true;
    return p->why && p->item[key] == '=' && len >= key && !strncmp(p->item, item, key) &&
           (len == key || item[key] == '=');
}

static bool same_key(const char *have, const char *item, size_t len)
{
    size_t key = strcspn(have, "=") + 1;

    return len >= key && !strncmp(have, item, key);
}

/* 1: the item picks a place (*ret_pick); 0: it is a key of the object. */
static int find(const struct vmm_option_pick *picks, const char *what, const char *item, size_t len,
                const struct vmm_option_pick **ret_pick)
{
    const char *last = NULL, *first = NULL;
    char shown[64];

    for (const struct vmm_option_pick *p = picks; p->item; p++) {
        if (is_item(p, item, len)) {
            *ret_pick = p;
            vm_prop_show(item, len, shown, sizeof(shown));
            return p->why ? vm_fail(-EINVAL, "%s: %s: %s", what, shown, p->why) : 1;
        }
        if (!p->instead && !p->why && same_key(p->item, item, len)) {
            first = first ? first : p->item;
            last = p->item;
        }
    }
    if (!last)
        return 0;
    vm_prop_show(item, len, shown, sizeof(shown));
    return vm_fail(-EINVAL, "%s: %s: it is %s to %s", what, shown, first, last);
}

static void add(char *rest, size_t *used, const char *item, size_t len)
{
    if (*used)
        rest[(*used)++] = ',';
    memcpy(rest + *used, item, len);
    *used += len;
}

/* Bytes of the text with every item in its longest form. */
static size_t room_for(const struct vmm_option_pick *picks, const char *text)
{
    size_t most = 0, items = 1;

    for (; picks->item; picks++)
        if (picks->instead && strlen(picks->instead) > most)
            most = strlen(picks->instead);
    for (const char *at = text; *at; at++)
        items += *at == ',';
    return strlen(text) + items * (most + 1) + 1;
}

int vmm_config_pick(const struct vmm_option *option, const char *what, const char *text,
                    const char **ret_path, char **ret_rest)
{
    const struct vmm_option_pick *pick = NULL, *before = NULL;
    char *rest = calloc(1, room_for(option->picks, text));
    const char *path = option->path;
    size_t used = 0, len;

    if (!rest)
        return vm_fail(-ENOMEM, "%s: no memory", what);
    for (const char *at = text; *at; at += at[len] ? len + 1 : len) {
        int rc;

        len = item_len(at);
        rc = find(option->picks, what, at, len, &pick);
        if (rc > 0 && pick->path && before && strcmp(before->path, pick->path))
            rc = vm_fail(-EINVAL,
                         "%s: %s with %s: each is a place of its own: leave one of them out", what,
                         before->item, pick->item);
        if (rc < 0) {
            free(rest);
            return rc;
        }
        if (rc > 0) {
            before = pick->path ? pick : before;
            path = pick->path ? pick->path : path;
            if (pick->instead)
                add(rest, &used, pick->instead, strlen(pick->instead));
            continue;
        }
        add(rest, &used, at, len);
    }
    *ret_path = path;
    *ret_rest = rest;
    return 0;
}
