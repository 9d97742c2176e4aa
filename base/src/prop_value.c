/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Property tables: one scalar in and out. */
#include <vmm/base/prop.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>

#include "prop_priv.h"

#define SIZE_TEXT 24u

static const char size_units[] = "TGMK";

/* The largest unit that divides v: 2G, 1536M, 4097. */
static const char *size_text(uint64_t v, char ret_text[static SIZE_TEXT])
{
    unsigned shift = 40;

    for (size_t i = 0; v && i < 4; i++, shift -= 10) {
        if (!(v & ((1ULL << shift) - 1))) {
            snprintf(ret_text, SIZE_TEXT, "%" PRIu64 "%c", v >> shift, size_units[i]);
            return ret_text;
        }
    }
    snprintf(ret_text, SIZE_TEXT, "%" PRIu64, v);
    return ret_text;
}

static const char *number_text(const struct vm_prop *p, uint64_t v, char ret_text[static SIZE_TEXT])
{
    if (p->type == VM_PROP_SIZE)
        return size_text(v, ret_text);
    snprintf(ret_text, SIZE_TEXT, "%" PRIu64, v);
    return ret_text;
}

/* What a number may be, for the error's text. */
static const char *range_text(const struct vm_prop *p, char *ret_text, size_t room)
{
    const char *kind = p->type == VM_PROP_SIZE ? "a size (4096, 64K, 256M, 2G, 1T)"
                       : p->type == VM_PROP_FD ? "a file descriptor number"
                                               : "a number";
    char low[SIZE_TEXT], high[SIZE_TEXT];

    if (p->max)
        snprintf(ret_text, room, "%s from %s to %s", kind, number_text(p, p->min, low),
                 number_text(p, p->max, high));
    else if (p->min)
        snprintf(ret_text, room, "%s of at least %s", kind, number_text(p, p->min, low));
    else
        snprintf(ret_text, room, "%s", kind);
    return ret_text;
}

static int refuse(int code, const struct vm_prop *p, const char *what, const char *text, size_t len,
                  const char *wanted)
{
    char shown[VM_PROP_SHOWN];

    return vm_fail(code, "%s: %s=%s: %s is needed", what, p->name,
                   vm_prop_show(text, len, shown, sizeof(shown)), wanted);
}

static int refuse_number(int code, const struct vm_prop *p, const char *what, const char *text,
                         size_t len)
{
    char range[128];

    return refuse(code, p, what, text, len, range_text(p, range, sizeof(range)));
}

static unsigned digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A') + 10;
    return UINT_MAX;
}

/* Digits, or 0x and hexadecimal digits; nothing else. */
static int parse_number(const char *text, size_t len, uint64_t *ret_value)
{
    unsigned base = 10, d;
    uint64_t v = 0;

    if (len > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
        len -= 2;
    }
    if (!len)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        d = digit(text[i]);
        if (d >= base)
            return -EINVAL;
    }
    for (size_t i = 0; i < len; i++) {
        if (!vm_mul(v, (uint64_t)base, &v) || !vm_add(v, (uint64_t)digit(text[i]), &v))
            return -ERANGE;
    }
    *ret_value = v;
    return 0;
}

static int parse_size(const char *text, size_t len, uint64_t *ret_value)
{
    unsigned shift = 0;
    uint64_t v;
    int rc;

    for (unsigned i = 0; len && i < 4; i++) {
        if (strncasecmp(&text[len - 1], &size_units[i], 1) == 0)
            shift = 40 - 10 * i;
    }
    rc = parse_number(text, shift ? len - 1 : len, &v);
    if (rc)
        return rc;
    if (v > UINT64_MAX >> shift)
        return -ERANGE;
    *ret_value = v << shift;
    return 0;
}

/* The most the type can hold. */
static uint64_t type_max(enum vm_prop_type type)
{
    return type == VM_PROP_FD ? INT_MAX : type == VM_PROP_U32 ? UINT32_MAX : UINT64_MAX;
}

static void store_number(const struct vm_prop *p, void *place, uint64_t v)
{
    uint32_t u32 = (uint32_t)(v & UINT32_MAX);
    int fd = (int)(v & INT_MAX);

    if (p->type == VM_PROP_U32)
        memcpy(place, &u32, sizeof(u32));
    else if (p->type == VM_PROP_FD)
        memcpy(place, &fd, sizeof(fd));
    else
        memcpy(place, &v, sizeof(v));
}

static int set_number(const struct vm_prop *p, void *place, const char *what, const char *text,
                      size_t len)
{
    uint64_t v;
    int rc = p->type == VM_PROP_SIZE ? parse_size(text, len, &v) : parse_number(text, len, &v);

    if (!rc && (v < p->min || v > (p->max ? p->max : UINT64_MAX) || v > type_max(p->type)))
        rc = -ERANGE;
    if (rc)
        return refuse_number(rc, p, what, text, len);
    store_number(p, place, v);
    return 0;
}

static bool equals(const char *word, const char *text, size_t len)
{
    return strlen(word) == len && strncasecmp(word, text, len) == 0;
}

static int set_bool(const struct vm_prop *p, void *place, const char *what, const char *text,
                    size_t len)
{
    static const char *const yes[] = { "on", "true", "yes" };
    static const char *const no[] = { "off", "false", "no" };

    for (size_t i = 0; i < VM_ARRAY_SIZE(yes); i++) {
        if (equals(yes[i], text, len) || equals(no[i], text, len)) {
            *(bool *)place = equals(yes[i], text, len);
            return 0;
        }
    }
    return refuse(-EINVAL, p, what, text, len, "on or off (or true, false, yes, no)");
}

static int refuse_enum(const struct vm_prop *p, const char *what, const char *text, size_t len)
{
    char wanted[VM_ERROR_TEXT] = "";
    const char *near = vm_nearest(text, len, p->values);
    size_t used = 0;

    for (size_t i = 0; p->values[i] && used < sizeof(wanted); i++) {
        int n = snprintf(wanted + used, sizeof(wanted) - used, "%s%s", i ? ", " : "one of ",
                         p->values[i]);

        used += n > 0 ? (size_t)n : 0;
    }
    if (near && used < sizeof(wanted))
        snprintf(wanted + used, sizeof(wanted) - used, " (did you mean '%s'?)", near);
    return refuse(-EINVAL, p, what, text, len, wanted);
}

static int set_enum(const struct vm_prop *p, void *place, const char *what, const char *text,
                    size_t len)
{
    for (uint32_t i = 0; p->values[i]; i++) {
        if (equals(p->values[i], text, len) ||
            (p->values_ch && equals(p->values_ch[i], text, len))) {
            memcpy(place, &i, sizeof(i));
            return 0;
        }
    }
    return refuse_enum(p, what, text, len);
}

static int set_string(const struct vm_prop *p, void *place, const char *what, const char *text,
                      size_t len)
{
    uint64_t max = p->max ? p->max : VM_PROP_TEXT_MAX;
    char *copy;

    if (memchr(text, '\0', len))
        return refuse(-EINVAL, p, what, text, len, "a text without zero bytes");
    if (len > max)
        return vm_fail(-ERANGE, "%s: %s: %zu bytes are too long, at most %" PRIu64 " are possible",
                       what, p->name, len, max);
    if (!len && p->type == VM_PROP_PATH)
        return refuse(-EINVAL, p, what, text, len, "a path");
    copy = strndup(text, len);
    if (!copy)
        return vm_fail(-ENOMEM, "%s: %s: no memory for %zu bytes", what, p->name, len);
    *(char **)place = copy;
    return 0;
}

int vm_prop_set_raw(const struct vm_prop *prop, void *object, const char *what, const char *text,
                    size_t len)
{
    void *place = vm_prop_place(prop, object);

    switch (prop->type) {
    case VM_PROP_BOOL: return set_bool(prop, place, what, text, len);
    case VM_PROP_U32:
    case VM_PROP_U64:
    case VM_PROP_SIZE:
    case VM_PROP_FD: return set_number(prop, place, what, text, len);
    case VM_PROP_ENUM: return set_enum(prop, place, what, text, len);
    case VM_PROP_STRING:
    case VM_PROP_PATH: return set_string(prop, place, what, text, len);
    default: return vm_fail(-EINVAL, "%s: '%s' has members: give those", what, prop->name);
    }
}

static uint64_t load_number(const struct vm_prop *p, const void *place)
{
    uint32_t u32;
    uint64_t u64;

    if (vm_prop_type_size(p->type) == sizeof(u32)) {
        memcpy(&u32, place, sizeof(u32));
        return u32;
    }
    memcpy(&u64, place, sizeof(u64));
    return u64;
}

/* The text of any scalar but a string; NULL for what has none. */
static const char *scalar_text(const struct vm_prop *p, const void *place,
                               char ret_text[static SIZE_TEXT])
{
    uint64_t v, count = 0;

    switch (p->type) {
    case VM_PROP_BOOL: return *(const bool *)place ? "on" : "off";
    case VM_PROP_FD: snprintf(ret_text, SIZE_TEXT, "%d", *(const int *)place); return ret_text;
    case VM_PROP_U32:
    case VM_PROP_U64:
    case VM_PROP_SIZE: return number_text(p, load_number(p, place), ret_text);
    case VM_PROP_ENUM:
        v = load_number(p, place);
        while (p->values[count])
            count++;
        return v < count ? p->values[v] : NULL;
    default: return NULL;
    }
}

int vm_prop_format(const struct vm_prop *prop, const void *object, char *ret_text, size_t room)
{
    const void *place = vm_prop_place_const(prop, object);
    char number[SIZE_TEXT];
    const char *text;
    size_t len;

    if (prop->type == VM_PROP_STRING || prop->type == VM_PROP_PATH)
        text = *(char *const *)place ? *(char *const *)place : "";
    else
        text = scalar_text(prop, place, number);
    if (!text)
        return vm_fail(-EINVAL, "%s: cannot be written as one value", prop->name);
    len = strlen(text);
    if (len >= room || len > INT_MAX)
        return vm_fail(-ENOSPC, "%s: its text of %zu bytes does not fit %zu", prop->name, len,
                       room);
    memcpy(ret_text, text, len + 1);
    return (int)len;
}
