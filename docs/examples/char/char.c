/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library char alone: a back end whose options come from a text such as "file=log.txt,append" or "mode=pty", and some
 * bytes sent to it. Usage: char OPTIONS TEXT
 */
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/loop.h>
#include <vmm/char/char.h>

struct options {
    struct vchar_config chr;
};
static const struct vm_prop props[] = { VCHAR_PROPS(struct options, chr), { 0 } };

static size_t input(void *ctx, const uint8_t *data, size_t len)
{
    (void)ctx, (void)data;
    return len; /* not interested */
}

static int run(struct vm_env *env, const struct options *o, const char *text)
{
    static const struct vchar_ops ops = { .input = input };
    struct vchar *chr;
    int rc = vchar_new(env, "example", &o->chr, &ops, NULL, &chr);

    if (rc)
        return rc;
    if (vchar_pty(chr))
        printf("pseudo-terminal %s\n", vchar_pty(chr));
    vchar_write(chr, (const uint8_t *)text, strlen(text), true);
    while (vm_loop_step(env->loop, 10000000) > 0)
        ;
    printf("%u bytes sent, %u dropped\n", (unsigned)strlen(text), (unsigned)vchar_dropped(chr));
    vchar_free(chr);
    return 0;
}

int main(int argc, char *argv[])
{
    struct options o = { 0 };
    struct vm_env env;
    int rc;

    if (argc != 3) {
        fprintf(stderr, "usage: char OPTIONS TEXT\n");
        return 2;
    }
    vm_env_host(VM_LOG_INFO, &env);
    rc = vm_loop_new(&env, 0, &env.loop);
    if (!rc)
        rc = vm_prop_defaults(props, &o);
    if (!rc)
        rc = vm_prop_parse(props, &o, "options", NULL, argv[1]);
    if (!rc)
        rc = run(&env, &o, argv[2]);
    if (rc)
        fprintf(stderr, "char: %s\n", vm_error_text());
    vm_prop_free(props, &o);
    vm_loop_free(env.loop);
    return rc ? 1 : 0;
}
