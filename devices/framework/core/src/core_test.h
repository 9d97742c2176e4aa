/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared by the library's tests: an environment that keeps the last line of the log. */
#ifndef VMM_DEVICES_CORE_CORE_TEST_H
#define VMM_DEVICES_CORE_CORE_TEST_H

#include <stdio.h>
#include <string.h>

#include <vmm/base/env.h>

struct test_env {
    struct vm_env env;
    char line[256];
    unsigned lines;
    uint64_t now_ns;
};

static inline void test_log(void *ctx, enum vm_level level, const char *text)
{
    struct test_env *t = ctx;

    (void)level;
    snprintf(t->line, sizeof(t->line), "%s", text);
    t->lines++;
}

static inline uint64_t test_now(void *ctx, enum vm_clock clock)
{
    (void)clock;
    return ((struct test_env *)ctx)->now_ns;
}

static inline void test_env_init(struct test_env *t)
{
    *t = (struct test_env){ .env = { .ctx = t, .log = test_log, .now_ns = test_now } };
}

#endif
