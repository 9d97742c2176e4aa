/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The text of program=: words, quotes, and what stands for the socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/prop.h>

#include "program.h"

static const char connected[] = "{fd}", listening[] = "{listen}";

static int refuse(const char *text, const char *why)
{
    char shown[80];

    return vm_fail(-EINVAL, "program=%s: %s",
                   vm_prop_show(text, strlen(text), shown, sizeof(shown)), why);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* One word from *text on, without its quotes, to *ret_to; NULL: a quote has no end. */
static const char *take_word(const char *text, char **ret_to)
{
    char *to = *ret_to, quote = '\0';

    for (; *text && (quote || !is_blank(*text)); text++) {
        if (*text == quote)
            quote = '\0';
        else if (!quote && (*text == '"' || *text == '\''))
            quote = *text;
        else
            *to++ = *text;
    }
    *to++ = '\0';
    *ret_to = to;
    return quote ? NULL : text;
}

/* In place of each placeholder its number: always shorter. */
static void put_number(char *word, const char *placeholder)
{
    size_t len = strlen(placeholder);
    char *at = word;

    while ((at = strstr(at, placeholder))) {
        *at = '0' + VMM_PROGRAM_FD;
        memmove(at + 1, at + len, strlen(at + len) + 1);
    }
}

static int split(const char *text, struct program_words *w)
{
    char *to = w->text;
    const char *at = text;

    for (;;) {
        while (is_blank(*at))
            at++;
        if (!*at)
            return w->count ? 0 : refuse(text, "it names no program");
        if (w->count == VMM_PROGRAM_WORDS_MAX)
            return refuse(text, "it has too many words");
        w->word[w->count++] = to;
        at = take_word(at, &to);
        if (!at)
            return refuse(text, "a quote has no end");
    }
}

static int place_socket(const char *text, struct program_words *w)
{
    bool fd = strstr(text, connected), listens = strstr(text, listening);

    if (fd == listens)
        return refuse(text, fd ? "{fd} and {listen}: give one of them"
                               : "it does not say where the number of its socket stands: {fd} for "
                                 "a connected one, {listen} for one that listens");
    if (strstr(w->word[0], connected) || strstr(w->word[0], listening))
        return refuse(text, "its first word is the program's name, not a socket");
    for (size_t i = 1; i < w->count; i++) {
        put_number(w->word[i], connected);
        put_number(w->word[i], listening);
    }
    w->listens = listens;
    return 0;
}

int vmm_program_words(const char *text, struct program_words **ret_words)
{
    struct program_words *w = calloc(1, sizeof(*w) + strlen(text) + 2);
    int rc;

    if (!w)
        return vm_fail(-ENOMEM, "out of memory");
    rc = split(text, w);
    if (!rc)
        rc = place_socket(text, w);
    if (rc)
        free(w);
    else
        *ret_words = w;
    return rc;
}

int vmm_machine_program_check(const char *text)
{
    struct program_words *words;
    int rc = vmm_program_words(text, &words);

    if (!rc)
        free(words);
    return rc;
}

const char *vmm_machine_program_of(const struct vdev_class *cls, const void *config)
{
    const struct vm_prop *row = cls->placements == VDEV_FOREIGN && config
                                    ? vm_prop_find(cls->props, "program", strlen("program"))
                                    : NULL;

    return row && row->type == VM_PROP_STRING
               ? *(char *const *)(const void *)((const char *)config + row->offset)
               : NULL;
}
