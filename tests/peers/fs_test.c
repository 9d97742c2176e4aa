/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-fs (VIRTIO 1.2, 5.11) served by QEMU's virtiofsd: the first request of every FUSE session (linux/fuse.h). */
#include <linux/fuse.h>

#include "peers.h"

enum { REQUESTS = 1 };

static void begin(void)
{
    char source[PEER_PATH + 16], socket[PEER_PATH + 32];
    char *argv[] = {
        "/usr/lib/qemu/virtiofsd", socket, "-o", source, "-o", "sandbox=chroot", NULL
    };

    peer_begin();
    snprintf(source, sizeof(source), "source=%s", peer.dir);
    snprintf(socket, sizeof(socket), "--socket-path=%s", peer.socket);
    peer_start(argv);
    peer_device("type=fs,tag=share");
}

Test(virtiofsd, a_session_begins, .init = begin, .fini = peer_end)
{
    struct fake_driver *drv = &peer.h.drv[REQUESTS];
    struct {
        struct fuse_in_header head;
        struct fuse_init_in init;
    } in = { .head = { .len = sizeof(in), .opcode = FUSE_INIT, .unique = 77 },
             .init = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION } };
    struct {
        struct fuse_out_header head;
        struct fuse_init_out init;
    } out = { 0 };
    struct fake_buf bufs[2] = { { fake_driver_alloc(drv, sizeof(in)), sizeof(in), false },
                                { fake_driver_alloc(drv, sizeof(out)), sizeof(out), true } };

    fake_driver_write(drv, bufs[0].addr, &in, sizeof(in));
    peer_request(REQUESTS, bufs, 2);
    fake_driver_read(drv, bufs[1].addr, &out, sizeof(out));

    cr_assert_eq(out.head.unique, 77);
    cr_assert_eq(out.head.error, 0);
    cr_assert_eq(out.init.major, FUSE_KERNEL_VERSION);
}

Test(virtiofsd, the_guest_sees_the_tag, .init = begin, .fini = peer_end)
{
    char tag[36];

    vh_config_read(&peer.h, 0, tag, sizeof(tag));

    cr_assert_str_eq(tag, "share");
}
