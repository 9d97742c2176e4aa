/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Accesses as lines of text. */
#include "oracle.h"

#include <string.h>

void oracle_print_op(FILE *f, const struct oracle_target *target, const struct oracle_op *op)
{
    if (op->kind == ORACLE_PIN)
        fprintf(f, "pin %u %d", op->at, op->value != 0);
    else if (op->kind == ORACLE_READ)
        fprintf(f, "r%u %s+%#x", op->len, target->spaces[op->space], op->at);
    else
        fprintf(f, "w%u %s+%#x %#llx", op->len, target->spaces[op->space], op->at,
                (unsigned long long)op->value);
}

static bool find_space(const struct oracle_target *target, const char *name, uint8_t *ret_space)
{
    for (uint8_t i = 0; target->spaces[i]; i++)
        if (!strcmp(target->spaces[i], name)) {
            *ret_space = i;
            return true;
        }
    return false;
}

static bool read_op(const char *line, const struct oracle_target *target, struct oracle_op *op)
{
    unsigned long long value = 0;
    char space[32];
    unsigned len;
    int n;

    *op = (struct oracle_op){ 0 };
    if (sscanf(line, "pin %u %llu", &op->at, &value) == 2) {
        op->kind = ORACLE_PIN;
        op->value = value;
        return target->pin;
    }
    n = sscanf(line, "%*1[rw]%u %31[^+]+%x %llx", &len, space, &op->at, &value);
    if (n != (*line == 'w' ? 4 : 3) || !(len == 1 || len == 2 || len == 4 || len == 8))
        return false;
    op->kind = *line == 'w' ? ORACLE_WRITE : ORACLE_READ;
    op->len = (uint8_t)len;
    op->value = value;
    return find_space(target, space, &op->space);
}

int oracle_read_ops(FILE *f, const struct oracle_target *target, struct oracle_case *ret_run)
{
    char line[256];
    int number = 0;

    ret_run->target = target;
    ret_run->count = 0;
    while (fgets(line, sizeof(line), f)) {
        number++;
        if (*line == '#' || *line == '\n')
            continue;
        if (ret_run->count == ORACLE_OPS_MAX ||
            !read_op(line, target, &ret_run->op[ret_run->count]))
            return number;
        ret_run->count++;
    }
    return 0;
}
