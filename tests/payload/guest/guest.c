/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Start, end, output and command line of the machine guest. */
#include "guest.h"

struct options options;

static const char *cmdline;

void print(const char *text)
{
    while (*text)
        put_char(*text++);
}

void print_number(uint64_t value)
{
    print("0x");
    for (int shift = value >> 32 ? 60 : 28; shift >= 0; shift -= 4)
        put_char("0123456789abcdef"[value >> shift & 15]);
}

void fail(const char *file, unsigned line, const char *what, uint64_t a, uint64_t b)
{
    print("FAILED ");
    print(file);
    print(":");
    print_number(line);
    print(": ");
    print(what);
    print(" (");
    print_number(a);
    print(", ");
    print_number(b);
    print(")\n");
    reset_machine();
}

static size_t length(const char *text)
{
    size_t n = 0;

    while (text[n])
        n++;
    return n;
}

static bool begins(const char *text, const char *with)
{
    while (*with)
        if (*text++ != *with++)
            return false;
    return true;
}

static bool option(const char *key, const char *value)
{
    for (const char *at = cmdline; *at; at++) {
        const char *end = at + length(key);

        if ((at == cmdline || at[-1] == ' ') && begins(at, key) && *end == '=' &&
            begins(end + 1, value)) {
            end += 1 + length(value);
            if (!*end || *end == ' ')
                return true;
        }
    }
    return false;
}

static void read_options(void)
{
    options = (struct options){
        .cam = option("config", "cam"),
        .mmio = option("bus", "mmio"),
        .packed = option("ring", "packed"),
        .irq = option("irq", "on"),
        .fifo = option("fifo", "on"),
        .gicv2 = option("gic", "v2"),
        .strict = option("strict", "on"),
    };
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
#define T(name) { #name, test_##name },
    TESTS(T) ARCH_TESTS(T)
#undef T
};

_Noreturn void guest_main(const void *boot);
_Noreturn void guest_main(const void *boot)
{
    cmdline = arch_start(boot);
    read_options();
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        if (option("test", tests[i].name)) {
            tests[i].run();
            print("PASSED\n");
            power_off();
        }
    fail(__FILE__, __LINE__, "test=NAME is known", 0, 0);
}
