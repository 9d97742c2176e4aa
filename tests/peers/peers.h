/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A foreign back end in a process of its own, and our device in front of it, in real time. */
#ifndef TESTS_PEERS_H
#define TESTS_PEERS_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/loop.h>
#include <vmm/base/socket.h>
#include <vmm/virtio/device.h>

#include "virtio_harness.h"

enum { PEER_PATH = 128, PEER_WAIT_S = 30 };
#define PEER_SECOND 1000000000ULL

extern const struct vdev_class vhost_user_class;

static struct peer {
    struct vh h;
    char dir[64], socket[PEER_PATH];
    pid_t pid, helper; /* the back end; what it needs itself */
} peer;

static inline int peer_open(void *ctx, const char *name, unsigned how)
{
    (void)ctx;
    return how == VM_OPEN_CONNECT ? vm_socket_connect(name) : vm_socket_listen(name, 1);
}

static inline void peer_begin(void)
{
    const struct vh_config config = { .transport = VH_PCI, .shared = true, .real_time = true };

    snprintf(peer.dir, sizeof(peer.dir), "/tmp/vmm-peer-XXXXXX");
    cr_assert_not_null(mkdtemp(peer.dir));
    snprintf(peer.socket, sizeof(peer.socket), "%s/socket", peer.dir);
    cr_assert_eq(vh_open(&peer.h, &config), 0);
    peer.h.open = peer_open;
}

/* The program must be there: tests/run.sh installs it. */
static inline void peer_start(char *const argv[])
{
    cr_assert_eq(access(argv[0], X_OK), 0, "%s is missing", argv[0]);
    peer.pid = fork();
    cr_assert_geq(peer.pid, 0);
    if (!peer.pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!getenv("PEERS_VERBOSE"))
            dup2(open("/dev/null", O_RDWR), STDERR_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
}

static inline void peer_end_of(pid_t *pid)
{
    int status;

    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    waitpid(*pid, &status, 0);
    *pid = 0;
}

static inline void peer_kill(void)
{
    peer_end_of(&peer.pid);
}

static inline void peer_end(void)
{
    char command[PEER_PATH];

    if (peer.h.virtio)
        vh_destroy(&peer.h);
    vh_close(&peer.h);
    peer_kill();
    peer_end_of(&peer.helper);
    snprintf(command, sizeof(command), "rm -rf '%s'", peer.dir);
    cr_assert_eq(system(command), 0);
}

static inline void peer_device(const char *options)
{
    char text[256];

    snprintf(text, sizeof(text), "socket=%s,%s", peer.socket, options);
    cr_assert_eq(vh_create(&peer.h, &vhost_user_class, text), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&peer.h, 0), 0);
}

/* Offers, kicks, and waits for the answer; the number of written bytes. */
static inline int peer_request(uint16_t n, const struct fake_buf *bufs, size_t count)
{
    struct vh *h = &peer.h;
    uint64_t end = vm_loop_now_ns(h->loop) + PEER_WAIT_S * PEER_SECOND;
    int id = fake_driver_offer(&h->drv[n], bufs, count), rc = 0;
    uint16_t got;
    uint32_t len;

    cr_assert_geq(id, 0);
    if (fake_driver_wants_kick(&h->drv[n]))
        cr_assert_eq(vh_kick(h, n), 0);
    while (!rc && vm_loop_now_ns(h->loop) < end) {
        cr_assert_geq(vm_loop_step(h->loop, PEER_SECOND / 100), 0);
        rc = fake_driver_collect(&h->drv[n], &got, &len);
    }
    cr_assert_eq(rc, 1, "no answer: %d %s", rc, h->drv[n].complaint ? h->drv[n].complaint : "");
    cr_assert_eq(got, id);
    return (int)len;
}

#endif
