/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Property tables: the command line's form of one object, "key=value,key,key=[a,b],key=\"q\"". */
#include <vmm/base/prop.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "prop_priv.h"

/* A row and the object that holds its value. */
struct target {
    const struct vm_prop *prop;
    void *object;
};

struct parser {
    const struct vm_prop *props;
    void *object;
    const char *what;
    const char *first; /* the key of a first item without '=', or NULL */
    const char *at, *end; /* the text that is left */
    struct target seen[VM_PROP_KEYS_MAX]; /* what was given */
    size_t seen_count;
};

static bool was_seen(const struct parser *p, const struct vm_prop *prop, const void *object)
{
    for (size_t i = 0; i < p->seen_count; i++) {
        if (p->seen[i].prop == prop && p->seen[i].object == object)
            return true;
    }
    return false;
}

static int mark_seen(struct parser *p, struct target t)
{
    if (p->seen_count == VM_PROP_KEYS_MAX)
        return vm_fail(-EINVAL, "%s: more than %u keys", p->what, VM_PROP_KEYS_MAX);
    p->seen[p->seen_count++] = t;
    return 0;
}

/* Finds the row of a key, going down at each dot. A nested object on the way counts as given. */
static int find_target(struct parser *p, const char *key, size_t len, struct target *ret_target)
{
    const char *dot = memchr(key, '.', len);
    size_t head = dot ? (size_t)(dot - key) : len;
    struct target t = { vm_prop_find(p->props, key, head), p->object };
    int rc;

    if (!t.prop)
        return vm_prop_unknown(p->props, p->what, key, head);
    while (head < len && t.prop->type == VM_PROP_OBJECT) {
        void *nested = vm_prop_place(t.prop, t.object);
        const struct vm_prop *props = t.prop->props;

        if (!was_seen(p, t.prop, t.object)) {
            rc = mark_seen(p, t);
            if (rc)
                return rc;
        }
        key += head + 1;
        len -= head + 1;
        dot = memchr(key, '.', len);
        head = dot ? (size_t)(dot - key) : len;
        t = (struct target){ vm_prop_find(props, key, head), nested };
        if (!t.prop)
            return vm_prop_unknown(props, p->what, key, head);
    }
    if (head < len)
        return vm_fail(-EINVAL, "%s: '%s' has no members", p->what, t.prop->name);
    *ret_target = t;
    return 0;
}

/* Stores a quoted value without its quotes. */
static int set_quoted(struct parser *p, const struct target *t, size_t *ret_used)
{
    size_t left = (size_t)(p->end - p->at), quoted = vm_prop_quoted(p->at, left), len;
    char *plain;
    int rc;

    if (!quoted)
        return vm_fail(-EINVAL, "%s: %s: a quote (\") has no end", p->what, t->prop->name);
    if (quoted < left && p->at[quoted] != ',')
        return vm_fail(-EINVAL, "%s: %s: a comma must follow the closing quote", p->what,
                       t->prop->name);
    plain = vm_prop_unquote(p->at, quoted, &len);
    if (!plain)
        return vm_fail(-ENOMEM, "%s: %s: no memory", p->what, t->prop->name);
    rc = vm_prop_set(t->prop, t->object, p->what, plain, len);
    free(plain);
    *ret_used = quoted;
    return rc;
}

/* Stores the value at p->at and moves behind it. */
static int set_value(struct parser *p, const struct target *t)
{
    size_t left = (size_t)(p->end - p->at), len;
    int rc = 0;

    if (t->prop->type == VM_PROP_LIST || t->prop->type == VM_PROP_OBJECTS) {
        rc = vm_prop_list_item(p->what, t->prop->name, p->at, left, &len);
    } else if (left && p->at[0] == '"') {
        rc = set_quoted(p, t, &len);
        p->at += rc ? 0 : len;
        return rc;
    } else {
        const char *comma = memchr(p->at, ',', left);

        len = comma ? (size_t)(comma - p->at) : left;
    }
    if (!rc)
        rc = vm_prop_set(t->prop, t->object, p->what, p->at, len);
    p->at += rc ? 0 : len;
    return rc;
}

static int claim(struct parser *p, const struct target *t)
{
    if (t->prop->type == VM_PROP_OBJECT)
        return vm_fail(-EINVAL, "%s: '%s' has members: write %s.KEY=VALUE", p->what, t->prop->name,
                       t->prop->name);
    if (was_seen(p, t->prop, t->object))
        return vm_fail(-EINVAL, "%s: '%s' is given twice", p->what, t->prop->name);
    return mark_seen(p, *t);
}

/* One item, its value included; is_first: it may be the value of the first key. */
static int parse_item(struct parser *p, bool is_first)
{
    size_t left = (size_t)(p->end - p->at), key_len = 0;
    struct target t;
    bool bare;
    int rc;

    while (key_len < left && p->at[key_len] != '=' && p->at[key_len] != ',')
        key_len++;
    bare = key_len == left || p->at[key_len] == ',';
    if (is_first && p->first && (bare || p->at[0] == '"')) {
        rc = find_target(p, p->first, strlen(p->first), &t);
        if (!rc)
            rc = claim(p, &t);
        return rc ? rc : set_value(p, &t);
    }
    if (!key_len)
        return vm_fail(-EINVAL, "%s: an empty item: write KEY=VALUE,...", p->what);
    rc = find_target(p, p->at, key_len, &t);
    if (!rc)
        rc = claim(p, &t);
    if (rc)
        return rc;
    p->at += key_len;
    if (!bare) {
        p->at++;
        return set_value(p, &t);
    }
    if (t.prop->type != VM_PROP_BOOL)
        return vm_fail(-EINVAL, "%s: '%s' needs a value: %s=VALUE", p->what, t.prop->name,
                       t.prop->name);
    return vm_prop_set(t.prop, t.object, p->what, "on", 2);
}

/* A number's 0 counts as given when it was. */
static int check_required(const struct parser *p, const struct vm_prop *props, void *object)
{
    for (const struct vm_prop *row = props; row && row->name; row++) {
        struct vm_prop one[2] = { *row, { 0 } };
        bool seen = was_seen(p, row, object);
        int rc = 0;

        if (row->type == VM_PROP_OBJECT && (row->required || seen))
            rc = check_required(p, row->props, vm_prop_place(row, object));
        else if (row->type != VM_PROP_OBJECT && !seen)
            rc = vm_prop_check(one, object, p->what);
        if (rc)
            return rc;
    }
    return 0;
}

int vm_prop_parse(const struct vm_prop *props, void *object, const char *what, const char *first,
                  const char *text)
{
    struct parser p = {
        .props = props,
        .object = object,
        .what = what,
        .first = first,
        .at = text,
        .end = text + strlen(text),
    };
    int rc;

    for (bool is_first = true; p.at < p.end; is_first = false) {
        rc = parse_item(&p, is_first);
        if (rc)
            return rc;
        if (p.at < p.end && ++p.at == p.end)
            return vm_fail(-EINVAL, "%s: nothing follows the last comma", what);
    }
    return check_required(&p, props, object);
}
