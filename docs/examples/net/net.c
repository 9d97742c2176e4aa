/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library net alone: a back end whose options come from a text such as "tap=vt0,ip=10.0.0.1" or "socket=/tmp/s,server=on", and
 * the frames that come within some seconds. Usage: net OPTIONS SECONDS
 */
#include <stdio.h>
#include <stdlib.h>

#include <vmm/base/error.h>
#include <vmm/base/loop.h>
#include <vmm/net/net.h>

struct options {
    struct vnet_config net;
};
static const struct vm_prop props[] = { VNET_PROPS(struct options, net), { 0 } };

struct listener {
    struct vnet *net;
    unsigned frames;
};

static void readable(void *ctx, unsigned queue)
{
    struct listener *l = ctx;
    static uint8_t header[VNET_HEADER], data[VNET_FRAME_MAX];
    struct iovec iov[] = { { header, sizeof(header) }, { data, sizeof(data) } };
    ssize_t n;

    while ((n = vnet_receive(l->net, queue, iov, 2)) > 0) {
        printf("%zd bytes from %02x:%02x:%02x:%02x:%02x:%02x\n", n, data[6], data[7], data[8],
               data[9], data[10], data[11]);
        l->frames++;
    }
}

static void writable(void *ctx, unsigned queue)
{
    (void)ctx, (void)queue;
}

static void link_changed(void *ctx)
{
    struct listener *l = ctx;

    printf("the link is %s\n", l->net->info.link ? "up" : "down");
}

static int run(struct vm_env *env, const struct options *o, unsigned seconds)
{
    static const struct vnet_events events = { readable, writable, link_changed };
    struct listener l = { 0 };
    int rc = vnet_open(env, "example", &o->net, 1, &events, &l, &l.net);
    uint64_t end;

    if (rc)
        return rc;
    link_changed(&l);
    end = vm_loop_now_ns(env->loop) + seconds * UINT64_C(1000000000);
    while (vm_loop_now_ns(env->loop) < end)
        vm_loop_step(env->loop, 10000000);
    printf("%u frames\n", l.frames);
    vnet_close(l.net);
    return 0;
}

int main(int argc, char *argv[])
{
    struct options o = { 0 };
    struct vm_env env;
    int rc;

    if (argc != 3) {
        fprintf(stderr, "usage: net OPTIONS SECONDS\n");
        return 2;
    }
    vm_env_host(VM_LOG_INFO, &env);
    rc = vm_loop_new(&env, 0, &env.loop);
    if (!rc)
        rc = vm_prop_defaults(props, &o);
    if (!rc)
        rc = vm_prop_parse(props, &o, "options", NULL, argv[1]);
    if (!rc)
        rc = run(&env, &o, (unsigned)strtoul(argv[2], NULL, 10));
    if (rc)
        fprintf(stderr, "net: %s\n", vm_error_text());
    vm_prop_free(props, &o);
    vm_loop_free(env.loop);
    return rc ? 1 : 0;
}
