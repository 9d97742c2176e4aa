/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library block alone: opens a disk image, writes its second sector, makes that stable and reads it back. Usage:
 * block IMAGE
 */
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/block/block.h>

struct options {
    struct vblock_config disk;
};
static const struct vm_prop props[] = { VBLOCK_PROPS(struct options, disk), { 0 } };

static int transfer(struct vblock *disk, enum vblock_op op, char *sector)
{
    struct iovec v = { sector, VBLOCK_SECTOR };
    struct vblock_req req = { .op = op };

    if (op != VBLOCK_FLUSH) {
        req.offset = req.bytes = VBLOCK_SECTOR;
        req.iov = &v;
        req.iovs = 1;
    }
    return vblock_submit(disk, &req); /* at once: this back end is not async */
}

static int run(struct vblock *disk)
{
    char sector[VBLOCK_SECTOR] = "what the disk keeps", back[VBLOCK_SECTOR] = "";
    int rc;

    printf("%llu bytes, blocks of %u%s\n", (unsigned long long)disk->info.bytes,
           disk->info.block_bytes, disk->info.readonly ? ", read only" : "");
    if ((rc = transfer(disk, VBLOCK_WRITE, sector)) || (rc = transfer(disk, VBLOCK_FLUSH, NULL)) ||
        (rc = transfer(disk, VBLOCK_READ, back)))
        return vm_fail(rc, "request");
    printf("read back: %d\n", memcmp(sector, back, sizeof(sector)));
    return 0;
}

int main(int argc, char *argv[])
{
    struct options o = { 0 };
    struct vblock *disk;
    struct vm_env env;
    int rc;

    if (argc != 2) {
        fprintf(stderr, "usage: block IMAGE\n");
        return 2;
    }
    vm_env_host(VM_LOG_INFO, &env);
    rc = vm_prop_defaults(props, &o);
    if (!rc)
        rc = vm_prop_parse(props, &o, "disk", "path", argv[1]);
    if (!rc)
        rc = vblock_open(&env, &o.disk, &disk);
    if (!rc) {
        rc = run(disk);
        vblock_close(disk);
    }
    if (rc)
        fprintf(stderr, "block: %s\n", vm_error_text());
    vm_prop_free(props, &o);
    return rc ? 1 : 0;
}
