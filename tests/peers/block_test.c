/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-blk (VIRTIO 1.2, 5.2) served by qemu-storage-daemon: a raw image, a qcow2 one, and one behind NBD. */
#include "peers.h"

#include <vmm/base/le.h>

enum { SECTOR = 512, IMAGE = 1 << 20, OK = 0, IN = 0, OUT = 1, FLUSH = 4 };

static char image[PEER_PATH];

static void make_image(void)
{
    static uint8_t bytes[IMAGE];
    int fd;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i / SECTOR);
    snprintf(image, sizeof(image), "%s/image", peer.dir);
    fd = open(image, O_CREAT | O_RDWR, 0600);
    cr_assert_eq(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
    close(fd);
}

/* What qemu-storage-daemon calls the format, and what is behind it. */
static const char usual[] = "file,filename=";
static const char *driver = "raw", *server = usual;

static void start_daemon(void)
{
    char file[2 * PEER_PATH + 128], format[PEER_PATH], export[PEER_PATH + 128],
        where[2 * PEER_PATH + 64];
    char *argv[] = { "/usr/bin/qemu-storage-daemon",
                     "--blockdev",
                     file,
                     "--blockdev",
                     format,
                     "--export",
                     export,
                     NULL };

    snprintf(where, sizeof(where), "%s%s", server, server == usual ? image : "");
    snprintf(file, sizeof(file), "driver=%s,node-name=file", where);
    snprintf(format, sizeof(format), "driver=%s,file=file,node-name=disk", driver);
    snprintf(export, sizeof(export),
             "type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=%s,writable=on,num-"
             "queues=2",
             peer.socket);
    unlink(peer.socket);
    peer_start(argv);
}

/* One request of a sector; the device's status byte (5.2.6). */
static uint8_t request(uint16_t n, uint32_t type, uint64_t sector, uint8_t data[SECTOR])
{
    struct fake_driver *drv = &peer.h.drv[n];
    gpa_t head = fake_driver_alloc(drv, 16), payload = fake_driver_alloc(drv, SECTOR);
    gpa_t status = fake_driver_alloc(drv, 1);
    struct fake_buf bufs[3] = { { head, 16, false },
                                { payload, SECTOR, type == IN },
                                { status, 1, true } };
    uint8_t bytes[16] = { 0 }, result = 0xff;

    vm_store_le(bytes, 4, type);
    vm_store_le(bytes + 8, 8, sector);
    fake_driver_write(drv, head, bytes, sizeof(bytes));
    fake_driver_write(drv, status, &result, 1);
    if (type == OUT)
        fake_driver_write(drv, payload, data, SECTOR);
    if (type == FLUSH)
        bufs[1] = bufs[2];
    peer_request(n, bufs, type == FLUSH ? 2 : 3);
    fake_driver_read(drv, status, &result, 1);
    if (type == IN)
        fake_driver_read(drv, payload, data, SECTOR);
    return result;
}

static void begin(void)
{
    peer_begin();
    make_image();
    start_daemon();
    peer_device("type=block");
}

Test(qemu_storage_daemon, its_disk_is_read_and_written, .init = begin, .fini = peer_end)
{
    uint8_t data[SECTOR], file[SECTOR];
    int fd = open(image, O_RDONLY);

    cr_assert_eq(request(0, IN, 5, data), OK);
    cr_assert_eq(data[0], 5);
    cr_assert_eq(data[SECTOR - 1], 5);
    memset(data, 0xa5, sizeof(data));
    cr_assert_eq(request(1, OUT, 7, data), OK);
    cr_assert_eq(request(0, FLUSH, 0, data), OK);

    cr_assert_eq(pread(fd, file, SECTOR, 7 * SECTOR), SECTOR);
    cr_assert_eq(memcmp(file, data, SECTOR), 0);
    close(fd);
}

Test(qemu_storage_daemon, its_capacity_is_the_images, .init = begin, .fini = peer_end)
{
    uint8_t bytes[8];

    vh_config_read(&peer.h, 0, bytes, 8);

    cr_assert_eq(vm_load_le(bytes, 8), IMAGE / SECTOR);
}

Test(qemu_storage_daemon, killed_and_started_again_it_serves_the_next_request, .init = begin,
     .fini = peer_end)
{
    uint8_t data[SECTOR];

    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(request(0, IN, 5 + i, data), OK);
        cr_assert_eq(data[0], 5 + i);
        peer_kill();
        start_daemon();
    }
    cr_assert_eq(request(0, IN, 100, data), OK);
    cr_assert_eq(data[0], 100);
    cr_assert_not(vh_status(&peer.h) & VIRTIO_NEEDS_RESET);
}

Test(qemu_storage_daemon, a_request_made_while_it_is_away_is_served_when_it_is_back, .init = begin,
     .fini = peer_end)
{
    struct fake_driver *drv = &peer.h.drv[0];
    uint8_t data[SECTOR];

    cr_assert_eq(request(0, IN, 1, data), OK);
    peer_kill();
    cr_assert_eq(vh_pass(&peer.h, PEER_SECOND), 0); /* it is noticed, and tried again */
    cr_assert_eq(fake_driver_in_flight(drv), 0);
    start_daemon();

    cr_assert_eq(request(0, IN, 9, data), OK);
    cr_assert_eq(data[0], 9);
}

Test(qemu_storage_daemon, a_reset_and_a_new_start_work, .init = begin, .fini = peer_end)
{
    uint8_t data[SECTOR];

    cr_assert_eq(request(0, IN, 3, data), OK);
    cr_assert_eq(vh_set_status(&peer.h, 0), 0);
    for (unsigned i = 0; i < 500 && vh_status(&peer.h); i++)
        cr_assert_geq(vm_loop_step(peer.h.loop, PEER_SECOND / 100), 0);
    cr_assert_eq(vh_reset(&peer.h, 1), 0);
    cr_assert_eq(vh_start(&peer.h, 0), 0);

    cr_assert_eq(request(0, IN, 4, data), OK);
    cr_assert_eq(data[0], 4);
}

/* ---- what else is behind it ---- */

static void run(char *const argv[])
{
    int status;

    peer_start(argv);
    cr_assert_eq(waitpid(peer.pid, &status, 0), peer.pid);
    peer.pid = 0;
    cr_assert_eq(status, 0, "%s: status %#x", argv[0], status);
}

static void begin_qcow2(void)
{
    char *make[] = { "/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", image, "1M", NULL };

    peer_begin();
    snprintf(image, sizeof(image), "%s/image", peer.dir);
    run(make);
    driver = "qcow2";
    start_daemon();
    peer_device("type=block");
}

Test(qemu_storage_daemon, qcow2_has_after_a_kill_what_was_flushed, .init = begin_qcow2,
     .fini = peer_end)
{
    uint8_t data[SECTOR], zero[SECTOR] = { 0 };

    cr_assert_eq(request(0, IN, 7, data), OK);
    cr_assert_eq(memcmp(data, zero, SECTOR), 0);
    memset(data, 0xa5, sizeof(data));
    cr_assert_eq(request(0, OUT, 7, data), OK);
    cr_assert_eq(request(0, FLUSH, 0, data), OK);
    peer_kill();
    start_daemon();

    memset(data, 0, sizeof(data));
    cr_assert_eq(request(1, IN, 7, data), OK);
    cr_assert_eq(data[0], 0xa5);
    cr_assert_eq(data[SECTOR - 1], 0xa5);
    cr_assert_eq(request(1, IN, 8, data), OK);
    cr_assert_eq(memcmp(data, zero, SECTOR), 0);
}

static void begin_nbd(void)
{
    static char address[PEER_PATH + 64];
    char blockdev[PEER_PATH + 64], listen[PEER_PATH + 64];
    char *argv[] = { "/usr/bin/qemu-storage-daemon",
                     "--blockdev",
                     blockdev,
                     "--nbd-server",
                     listen,
                     "--export",
                     "type=nbd,id=n,node-name=disk,name=disk,writable=on",
                     NULL };
    char path[PEER_PATH];
    int fd = -1;

    peer_begin();
    make_image();
    snprintf(path, sizeof(path), "%s/nbd", peer.dir);
    snprintf(blockdev, sizeof(blockdev), "driver=file,filename=%s,node-name=disk", image);
    snprintf(listen, sizeof(listen), "addr.type=unix,addr.path=%s", path);
    peer_start(argv);
    peer.helper = peer.pid;
    for (unsigned i = 0; fd < 0 && i < PEER_WAIT_S * 100; i++) {
        cr_assert_geq(vm_loop_step(peer.h.loop, PEER_SECOND / 100), 0);
        fd = vm_socket_connect(path);
    }
    cr_assert_geq(fd, 0);
    close(fd);
    snprintf(address, sizeof(address), "nbd,server.type=unix,server.path=%s,export=disk", path);
    server = address;
    start_daemon();
    peer_device("type=block");
}

Test(qemu_storage_daemon, a_disk_behind_nbd_is_read_and_written, .init = begin_nbd,
     .fini = peer_end)
{
    uint8_t data[SECTOR], file[SECTOR];
    int fd = open(image, O_RDONLY);

    cr_assert_eq(request(0, IN, 5, data), OK);
    cr_assert_eq(data[0], 5);
    memset(data, 0xa5, sizeof(data));
    cr_assert_eq(request(1, OUT, 7, data), OK);
    cr_assert_eq(request(0, FLUSH, 0, data), OK);

    cr_assert_eq(pread(fd, file, SECTOR, 7 * SECTOR), SECTOR);
    cr_assert_eq(memcmp(file, data, SECTOR), 0);
    close(fd);
}
