/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The tiny kernels for AArch64, of kernel_aarch64_code.S: Image files (Linux, Documentation/arch/arm64/booting.rst). */
#include "cli.h"

#include <criterion/criterion.h>

#define KERNEL(name) extern const char tiny_##name[], tiny_##name##_end[]
KERNEL(poweroff);
KERNEL(reset);
KERNEL(loop);
KERNEL(hello);
KERNEL(ports);
KERNEL(flood);
KERNEL(button);
KERNEL(write);
KERNEL(window);

static const struct {
    const char *start, *end;
} kernels[] = {
#define ROW(name)                      \
    {                                  \
        tiny_##name, tiny_##name##_end \
    }
    [TINY_POWEROFF] = ROW(poweroff), [TINY_RESET] = ROW(reset), [TINY_LOOP] = ROW(loop),
    [TINY_HELLO] = ROW(hello),       [TINY_FLOOD] = ROW(flood), [TINY_BUTTON] = ROW(button),
    [TINY_PORTS] = ROW(ports),       [TINY_WRITE] = ROW(write), [TINY_WINDOW] = ROW(window),
};

const char *const cli_irqchips[] = { "gicv3", NULL };

void cli_kernel(const char *path, enum tiny what)
{
    if ((size_t)what >= sizeof(kernels) / sizeof(kernels[0]) || !kernels[what].start)
        CLI_SKIP("no kernel for AArch64 does this");
    cli_file(path, kernels[what].start, (size_t)(kernels[what].end - kernels[what].start));
}
