/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* How two reports of vmm abi differ: abi.h says what a report is. */
#include "abi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/file.h>
#include <vmm/control/control.h>

#include "report.h"

enum { REPORT_BYTES_MAX = 16 << 20, DEPTH_MAX = 8 };

/* --- rows --- */

/* The keys of the lines that the current one may belong to. */
struct level {
    unsigned indent;
    const char *key;
    int len;
};
struct path {
    struct level level[DEPTH_MAX];
    unsigned depth;
};

static unsigned count_lines(const char *text, size_t len)
{
    unsigned n = 0;

    for (const char *at = text, *end; at < text + len; at = end + 1, n++) {
        end = memchr(at, '\n', (size_t)(text + len - at));
        if (!end)
            return n + 1;
    }
    return n;
}

/* Where the key ends: before ": ", or a colon that ends the line. */
static int key_length(const char *line, int len)
{
    for (int i = 0; i < len; i++)
        if (line[i] == ':' && (i + 1 == len || line[i + 1] == ' '))
            return i;
    return len;
}

static void enter(struct path *p, unsigned indent, const char *key, int len)
{
    while (p->depth && p->level[p->depth - 1].indent >= indent)
        p->depth--;
    if (p->depth < DEPTH_MAX)
        p->level[p->depth++] = (struct level){ indent, key, len };
}

static char *path_text(const struct path *p)
{
    size_t room = 1, at = 0;
    char *text;

    for (unsigned i = 0; i < p->depth; i++)
        room += (size_t)p->level[i].len + 3;
    text = malloc(room);
    for (unsigned i = 0; text && i < p->depth; i++)
        at += (size_t)snprintf(text + at, room - at, "%s%.*s", i ? " / " : "", p->level[i].len,
                               p->level[i].key);
    return text;
}

static int by_path(const void *a, const void *b)
{
    const struct abi_row *x = *(const struct abi_row *const *)a;
    const struct abi_row *y = *(const struct abi_row *const *)b;
    int order = strcmp(x->path, y->path);

    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int add_row(struct abi_rows *rows, struct path *p, const char *line, int len)
{
    struct abi_row *row = &rows->rows[rows->count];
    int indent = 0, key;

    while (indent < len && line[indent] == ' ')
        indent++;
    key = key_length(line + indent, len - indent);
    enter(p, (unsigned)indent, line + indent, key);
    *row = (struct abi_row){ .path = path_text(p), .line = line, .len = len, .order = rows->count };
    row->value = line + indent + key;
    while (row->value < line + len && (*row->value == ':' || *row->value == ' '))
        row->value++;
    row->value_len = (int)(line + len - row->value);
    if (!row->path)
        return -ENOMEM;
    rows->by_path[rows->count++] = row;
    return 0;
}

/* Two tables of one name, say: the second one's keys get a number. They stand together now. */
static int number_doubles(struct abi_rows *rows)
{
    unsigned same = 0;

    for (unsigned i = 1; i < rows->count; i++) {
        const struct abi_row *first = rows->by_path[i - 1 - same];
        struct abi_row *row = &rows->rows[rows->by_path[i]->order];
        char *path;

        same = strcmp(first->path, row->path) ? 0 : same + 1;
        if (!same)
            continue;
        if (asprintf(&path, "%s (%u)", row->path, same + 1) < 0)
            return -ENOMEM;
        free((char *)row->path);
        row->path = path;
    }
    return 0;
}

int vmm_abi_rows_make(const char *text, size_t len, struct abi_rows *rows)
{
    unsigned lines = count_lines(text, len);
    struct path p = { .depth = 0 };
    int rc = 0;

    *rows = (struct abi_rows){ .rows = calloc(lines + 1, sizeof(*rows->rows)),
                               .by_path = calloc(lines + 1, sizeof(*rows->by_path)) };
    if (!rows->rows || !rows->by_path)
        rc = -ENOMEM;
    for (size_t at = 0; !rc && at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end ? (size_t)(end - text) - at : len - at;

        rc = n ? add_row(rows, &p, text + at, (int)n) : 0;
        at += n + 1;
    }
    if (!rc) {
        qsort(rows->by_path, rows->count, sizeof(*rows->by_path), by_path);
        rc = number_doubles(rows);
    }
    if (!rc)
        qsort(rows->by_path, rows->count, sizeof(*rows->by_path), by_path);
    if (rc)
        vmm_abi_rows_free(rows);
    return rc;
}

void vmm_abi_rows_free(struct abi_rows *rows)
{
    for (unsigned i = 0; i < rows->count; i++)
        free((char *)rows->rows[i].path);
    free(rows->rows);
    free(rows->by_path);
    *rows = (struct abi_rows){ 0 };
}

const struct abi_row *vmm_abi_rows_find(const struct abi_rows *rows, const char *path)
{
    unsigned from = 0, to = rows->count;

    while (from < to) {
        unsigned middle = from + (to - from) / 2;
        int order = strcmp(path, rows->by_path[middle]->path);

        if (!order)
            return rows->by_path[middle];
        if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return NULL;
}

bool vmm_abi_rows_same(const struct abi_row *a, const struct abi_row *b)
{
    return a->value_len == b->value_len && !memcmp(a->value, b->value, (size_t)a->value_len);
}

int vmm_abi_without(const struct vm_buffer *base, const struct vm_buffer *text,
                    struct vm_report *report)
{
    struct abi_rows old, new;
    int rc = vmm_abi_rows_make((const char *)base->data, base->len, &old);

    if (rc)
        return rc;
    rc = vmm_abi_rows_make((const char *)text->data, text->len, &new);
    for (unsigned i = 0; !rc && i < new.count; i++) {
        const struct abi_row *row = &new.rows[i], *was = vmm_abi_rows_find(&old, row->path);

        if (!was || !vmm_abi_rows_same(row, was))
            vm_report_add(report, "%.*s\n", row->len, row->line);
    }
    for (unsigned i = 0; !rc && i < old.count; i++)
        if (!vmm_abi_rows_find(&new, old.rows[i].path))
            vm_report_add(report, "  without %s: -\n", old.rows[i].path);
    if (!rc)
        vmm_abi_rows_free(&new);
    vmm_abi_rows_free(&old);
    return rc;
}

/* --- files --- */

static bool begins(const struct vm_buffer *text, const char *line)
{
    size_t n = strlen(line);

    return text->len > n && !memcmp(text->data, line, n) && text->data[n] == '\n';
}

static bool ends(const struct vm_buffer *text, const char *line)
{
    size_t n = strlen(line);

    return text->len > n + 2 && text->data[text->len - 1] == '\n' &&
           !memcmp(text->data + text->len - 1 - n, line, n) &&
           text->data[text->len - 2 - n] == '\n';
}

static int check(const char *path, const struct vm_buffer *text)
{
    if (!begins(text, ABI_FIRST))
        return vm_fail(
            -EINVAL,
            "%s is not a report of this version's vmm abi: its first line is not '%s'; make "
            "one by: vmm abi [options] >FILE",
            path, ABI_FIRST);
    if (memchr(text->data, 0, text->len))
        return vm_fail(-EINVAL, "%s is not a report of vmm abi: it is not text", path);
    if (!ends(text, ABI_LAST))
        return vm_fail(-EINVAL, "%s is not a whole report of vmm abi: it does not end with '%s'",
                       path, ABI_LAST);
    return 0;
}

int vmm_abi_read(const char *path, struct vm_buffer *ret_text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
    struct vm_buffer text = { 0 };
    void *data;

    if (fd < 0)
        return vm_file_fail("report", path, false);
    rc = vm_read_file(fd, path, REPORT_BYTES_MAX, &data, &text.len);
    close(fd);
    if (rc)
        return rc;
    text.data = data;
    rc = check(path, &text);
    if (rc)
        vm_buffer_free(&text);
    else
        *ret_text = text;
    return rc;
}

/* --- differences --- */

static void tell_rows(struct vm_report *r, const struct abi_rows *old, const struct abi_rows *new)
{
    for (unsigned i = 0; i < old->count; i++) {
        const struct abi_row *was = &old->rows[i], *is = vmm_abi_rows_find(new, was->path);

        if (!is)
            vm_report_add(r, "- %s%s%.*s\n", was->path, was->value_len ? ": " : "", was->value_len,
                          was->value);
        else if (!vmm_abi_rows_same(was, is))
            vm_report_add(r, "~ %s: %.*s -> %.*s\n", was->path, was->value_len, was->value,
                          is->value_len, is->value);
    }
    for (unsigned i = 0; i < new->count; i++) {
        const struct abi_row *is = &new->rows[i];

        if (!vmm_abi_rows_find(old, is->path))
            vm_report_add(r, "+ %s%s%.*s\n", is->path, is->value_len ? ": " : "", is->value_len,
                          is->value);
    }
}

int vmm_abi_compare(const char *old_name, const struct vm_buffer *old_text, const char *new_name,
                    const struct vm_buffer *new_text)
{
    struct abi_rows old = { 0 }, new = { 0 };
    struct vm_report r = { 0 };
    size_t head;
    bool same;
    int code;

    r.code = vmm_abi_rows_make((const char *)old_text->data, old_text->len, &old);
    if (!r.code)
        r.code = vmm_abi_rows_make((const char *)new_text->data, new_text->len, &new);
    vm_report_add(&r, "--- %s\n+++ %s\n", old_name, new_name);
    head = r.text.len;
    tell_rows(&r, &old, &new);
    same = !r.code && r.text.len == head;
    if (same) {
        vm_report_free(&r);
        vm_report_add(&r, "no difference\n");
    }
    vmm_abi_rows_free(&old);
    vmm_abi_rows_free(&new);
    code = vmm_report_print(&r);
    return code || same ? code : VMM_EXIT_FAILED;
}
