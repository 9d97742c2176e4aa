/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Policy files: text to rows. The text is not trusted. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/file.h>
#include <vmm/base/util.h>
#include <vmm/jail/policy.h>

enum { ARGUMENTS = 6, CHECKS = 2, ERRNO_MAX = 4095 };

struct vmm_jail_policy {
    char *text; /* a copy of the file, cut into names */
    struct vm_jail_rule *row;
    size_t count, room; /* count without the last, empty row */
    bool keeps_default;
};

struct parse {
    struct vmm_jail_policy *policy;
    const char *name;
    unsigned line;
    char *at; /* in the line */
};

static int wrong(const struct parse *p, const char *why)
{
    return vm_fail(-EINVAL, "%s, line %u: %s", p->name, p->line, why);
}

static struct vm_jail_rule *add_row(struct parse *p, const char *syscall)
{
    struct vmm_jail_policy *policy = p->policy;

    if (policy->count + 1 >= policy->room) {
        size_t room = policy->room ? 2 * policy->room : 32;
        void *row = realloc(policy->row, room * sizeof(*policy->row));

        if (!row)
            return NULL;
        policy->row = row;
        policy->room = room;
    }
    memset(&policy->row[policy->count], 0, 2 * sizeof(*policy->row));
    policy->row[policy->count].syscall = syscall;
    return &policy->row[policy->count++];
}

/* ---- words of a line ---- */

static void skip_blanks(struct parse *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\r')
        p->at++;
}

/* Takes word from the front of what is left. */
static bool take(struct parse *p, const char *word)
{
    size_t len = strlen(word);

    skip_blanks(p);
    if (strncmp(p->at, word, len))
        return false;
    p->at += len;
    return true;
}

static bool at_end(struct parse *p)
{
    skip_blanks(p);
    return !*p->at;
}

static int take_number(struct parse *p, uint64_t *ret_value)
{
    char *end;

    skip_blanks(p);
    if (!isdigit((unsigned char)*p->at))
        return wrong(p, "a number is missing: decimal, or hexadecimal with 0x in front");
    errno = 0;
    *ret_value = strtoull(p->at, &end, 0);
    if (errno || isalnum((unsigned char)*end))
        return wrong(p, "not a number of 64 bits");
    p->at = end;
    return 0;
}

/* arg1 == X, or arg1 & M == X */
static int take_check(struct parse *p, struct vm_jail_check *check)
{
    int rc;

    if (!take(p, "arg") || *p->at < '0' || *p->at >= '0' + ARGUMENTS)
        return wrong(p, "a comparison begins with arg0 to arg5");
    check->argument = (uint8_t)(*p->at++ - '0');
    check->mask = UINT64_MAX;
    if (take(p, "&")) {
        rc = take_number(p, &check->mask);
        if (rc)
            return rc;
        if (!check->mask)
            return wrong(p, "the mask is 0: that compares nothing");
    }
    if (!take(p, "=="))
        return wrong(p, "'==' is missing: 'arg1 == 2' or 'arg2 & 4 == 0'");
    rc = take_number(p, &check->value);
    if (!rc && (check->value & ~check->mask))
        rc = wrong(p, "the value has bits that the mask does not have: no call can match");
    return rc;
}

static int take_checks(struct parse *p, struct vm_jail_rule *row)
{
    unsigned n = 0;
    int rc;

    do {
        if (n == CHECKS)
            return wrong(p, "at most two comparisons in a row");
        rc = take_check(p, &row->check[n++]);
        if (rc)
            return rc;
    } while (take(p, "&&"));
    return 0;
}

static int take_error(struct parse *p, struct vm_jail_rule *row)
{
    uint64_t value;
    int rc = take_number(p, &value);

    if (rc)
        return rc;
    if (!value || value > ERRNO_MAX)
        return wrong(p, "'return' wants an errno from 1 to 4095");
    row->error = (uint16_t)value;
    return 0;
}

/* What stands behind "name:". Each alternative is a row. */
static int take_rows(struct parse *p, const char *syscall)
{
    struct vm_jail_rule *row;
    int rc;

    do {
        row = add_row(p, syscall);
        if (!row)
            return vm_fail(-ENOMEM, "%s: no memory for its rows", p->name);
        if (take(p, "return"))
            return take_error(p, row);
        rc = take_checks(p, row);
        if (rc)
            return rc;
        if (take(p, ";"))
            return take(p, "return") ? take_error(p, row)
                                     : wrong(p, "behind ';' only 'return ERRNO' may stand");
    } while (take(p, "||"));
    return 0;
}

/* ---- lines ---- */

static char *take_name(struct parse *p)
{
    char *name;

    skip_blanks(p);
    name = p->at;
    while (isalnum((unsigned char)*p->at) || *p->at == '_')
        p->at++;
    return name;
}

static int parse_row(struct parse *p)
{
    char *name = take_name(p), *end = p->at;
    bool more = take(p, ":");
    int rc = 0;

    if (end == name)
        return wrong(p, "the name of a system call is missing");
    if (!more && !at_end(p))
        return wrong(p, "behind the name only ':' may stand");
    *end = '\0';
    if (more && !(take(p, "1") && at_end(p)))
        rc = take_rows(p, name);
    else if (!add_row(p, name))
        rc = vm_fail(-ENOMEM, "%s: no memory for its rows", p->name);
    if (!rc && !at_end(p))
        rc = wrong(p, "not understood behind the row's end");
    if (!rc && p->policy->count > VMM_JAIL_ROWS_MAX)
        rc = vm_fail(-E2BIG, "%s, line %u: over %d rows", p->name, p->line, VMM_JAIL_ROWS_MAX);
    return rc;
}

static int parse_line(struct parse *p)
{
    char *remark = strchr(p->at, '#');

    if (remark)
        *remark = '\0';
    if (at_end(p))
        return 0;
    if (!take(p, "@"))
        return parse_row(p);
    if (!take(p, "default") || !at_end(p))
        return wrong(p, "behind @ only 'default' may stand");
    p->policy->keeps_default = true;
    return 0;
}

static int parse_lines(struct parse *p)
{
    char *rest = p->policy->text;
    int rc = 0;

    while (!rc && rest) {
        p->at = strsep(&rest, "\n");
        p->line++;
        rc = parse_line(p);
    }
    return rc;
}

int vmm_jail_policy_parse(const char *name, const char *untrusted, size_t len,
                          struct vmm_jail_policy **ret_policy)
{
    struct parse p = { .name = name };
    int rc;

    if (len > VMM_JAIL_POLICY_MAX)
        return vm_fail(-E2BIG, "%s: over %d bytes", name, VMM_JAIL_POLICY_MAX);
    if (memchr(untrusted, 0, len))
        return vm_fail(-EINVAL, "%s: has a byte 0: not a text", name);
    p.policy = calloc(1, sizeof(*p.policy));
    if (!p.policy)
        return vm_fail(-ENOMEM, "%s: no memory", name);
    p.policy->text = strndup(untrusted, len);
    rc = p.policy->text ? parse_lines(&p) : vm_fail(-ENOMEM, "%s: no memory", name);
    if (!rc && !p.policy->count && !p.policy->keeps_default)
        rc = vm_fail(-EINVAL, "%s: has no row: nothing would be allowed", name);
    if (rc) {
        vmm_jail_policy_free(p.policy);
        return rc;
    }
    *ret_policy = p.policy;
    return 0;
}

void vmm_jail_policy_free(struct vmm_jail_policy *policy)
{
    if (!policy)
        return;
    free(policy->row);
    free(policy->text);
    free(policy);
}

const struct vm_jail_rule *vmm_jail_policy_rows(const struct vmm_jail_policy *policy)
{
    return policy->row;
}

bool vmm_jail_policy_keeps_default(const struct vmm_jail_policy *policy)
{
    return policy->keeps_default;
}

/* That a file is not there means something only where its folder is. */
static int check_folder(const char *dir)
{
    return access(dir, F_OK) ? vm_file_fail("policy folder", dir, false) : 0;
}

int vmm_jail_policy_open(const char *dir, enum vmm_jail_arch arch, const char *name,
                         struct vmm_jail_policy **ret_policy)
{
    char path[PATH_MAX];
    void *data;
    size_t len;
    int fd, rc;

    if (snprintf(path, sizeof(path), "%s/%s/%s.policy", dir, vmm_jail_arch_name(arch), name) >=
        (int)sizeof(path))
        return vm_fail(-ENAMETOOLONG, "policy of %s: the path is too long", name);
    *ret_policy = NULL;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? check_folder(dir) : vm_fail_errno("%s", path);
    rc = vm_read_file(fd, path, VMM_JAIL_POLICY_MAX, &data, &len);
    vm_close(&fd);
    if (rc)
        return rc;
    rc = vmm_jail_policy_parse(path, data, len, ret_policy);
    free(data);
    return rc;
}
