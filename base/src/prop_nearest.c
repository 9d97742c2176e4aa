/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What did the user mean? The edit distance is that of Damerau and Levenshtein in its restricted
 * form (insert, delete, replace, swap of neighbours), where case and '-' against '_' cost nothing.
 */
#include <vmm/base/prop.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>

#include "prop_priv.h"

#define WORD_MAX 64u

static char fold(char c)
{
    return c == '-' ? '_' : (char)tolower((unsigned char)c);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Three rows of the table are enough for swaps of neighbours. */
static unsigned distance(const char *a, size_t alen, const char *b, size_t blen)
{
    unsigned rows[3][WORD_MAX + 1];

    for (size_t j = 0; j <= blen; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= alen; i++) {
        unsigned *now = rows[i % 3], *last = rows[(i + 2) % 3], *older = rows[(i + 1) % 3];

        now[0] = (unsigned)i;
        for (size_t j = 1; j <= blen; j++) {
            unsigned differs = fold(a[i - 1]) != fold(b[j - 1]);

            now[j] = least(least(last[j] + 1, now[j - 1] + 1), last[j - 1] + differs);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                now[j] = least(now[j], older[j - 2] + 1);
        }
    }
    return rows[alen % 3][blen];
}

/* A start of at least three letters means its whole: "mem" is memory. */
static bool starts(const char *word, size_t len, const char *candidate, size_t clen)
{
    if (len < 3 || clen < len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (fold(word[i]) != fold(candidate[i]))
            return false;
    }
    return true;
}

/* How many mistakes still leave a word what it was: one in three letters, of the shorter one, for what is added is wrong as well. */
static unsigned mistakes(size_t len, size_t clen)
{
    size_t n = (len < clen ? len : clen) / 3;

    return n ? (unsigned)n : 1;
}

const char *vm_nearest(const char *word, size_t len, const char *const *candidates)
{
    unsigned best = WORD_MAX;
    const char *found = NULL;

    if (!len || len > WORD_MAX)
        return NULL;
    for (size_t i = 0; candidates[i]; i++) {
        size_t clen = strlen(candidates[i]);
        unsigned d;

        if (clen > WORD_MAX)
            continue;
        d = distance(word, len, candidates[i], clen);
        if (d >= len && d >= clen)
            continue; /* nothing in common */
        if (starts(word, len, candidates[i], clen))
            d = least(d, 1);
        if (d <= mistakes(len, clen) && d < best) {
            best = d;
            found = candidates[i];
        }
    }
    return found;
}

const char *vm_prop_show(const char *text, size_t len, char *ret_text, size_t room)
{
    size_t n = len < room ? len : room - 1;

    for (size_t i = 0; i < n; i++)
        ret_text[i] = isprint((unsigned char)text[i]) ? text[i] : '?';
    ret_text[n] = '\0';
    if (n < len && room > 4)
        memcpy(ret_text + room - 4, "...", 4);
    return ret_text;
}

/* Collects the names of the table, with their aliases when those may be meant. */
static void collect(const struct vm_prop *props, bool aliases,
                    const char *ret_names[static VM_PROP_KEYS_MAX])
{
    size_t n = 0;

    for (const struct vm_prop *p = props; p && p->name; p++) {
        const char *names[] = { p->name, p->alias_ch, p->alias_crosvm };

        for (size_t i = 0; i < (aliases ? 3u : 1u); i++) {
            if (names[i] && n < VM_PROP_KEYS_MAX - 1)
                ret_names[n++] = names[i];
        }
    }
    ret_names[n] = NULL;
}

int vm_prop_unknown(const struct vm_prop *props, const char *what, const char *key, size_t len)
{
    const char *names[VM_PROP_KEYS_MAX], *near;
    char shown[VM_PROP_SHOWN], list[VM_ERROR_TEXT] = "";
    size_t used = 0;

    collect(props, true, names);
    near = vm_nearest(key, len, names);
    collect(props, false, names);
    for (size_t i = 0; names[i] && used < sizeof(list); i++) {
        int n = snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);

        used += n > 0 ? (size_t)n : 0;
    }
    vm_prop_show(key, len, shown, sizeof(shown));
    if (!names[0])
        return vm_fail(-EINVAL, "%s: unknown key '%s': it has no keys", what, shown);
    if (near)
        return vm_fail(-EINVAL, "%s: unknown key '%s', did you mean '%s'? valid: %s", what, shown,
                       near, list);
    return vm_fail(-EINVAL, "%s: unknown key '%s'; valid: %s", what, shown, list);
}
