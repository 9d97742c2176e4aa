/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Items of an option's text that say which object it is for: "num=2" of --serial (struct vmm_option_pick). */
#include "pick.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

/* The item's length: up to a comma outside of quotes. */
static size_t item_len(const char *at)
{
    bool quoted = false;
    size_t len = 0;

    for (; at[len] && (quoted || at[len] != ','); len++)
        quoted ^= at[len] == '"';
    return len;
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
        if (strlen(p->item) == len && !strncmp(p->item, item, len)) {
            *ret_pick = p;
            return 1;
        }
        if (same_key(p->item, item, len)) {
            first = first ? first : p->item;
            last = p->item;
        }
    }
    if (!last)
        return 0;
    vm_prop_show(item, len, shown, sizeof(shown));
    return vm_fail(-EINVAL, "%s: %s: it is %s to %s", what, shown, first, last);
}

int vmm_config_pick(const struct vmm_option *option, const char *what, const char *text,
                    const char **ret_path, char **ret_rest)
{
    const struct vmm_option_pick *pick = NULL, *before = NULL;
    char *rest = calloc(1, strlen(text) + 1);
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
            continue;
        }
        if (used)
            rest[used++] = ',';
        memcpy(rest + used, at, len);
        used += len;
    }
    *ret_path = path;
    *ret_rest = rest;
    return 0;
}
