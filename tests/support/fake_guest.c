/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* RAM for tests. */
#include <string.h>

#include "fake_driver_private.h"

static uint64_t still(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 1;
}

static int not_random(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    memset(buf, 0x5a, len);
    return 0;
}

static int init(struct fake_guest *guest, const struct gm_backing *backing, uint64_t bytes)
{
    struct gm_change change = { .add = &guest->region, .add_count = 1 };
    int rc;

    *guest = (struct fake_guest){ .env = { .now_ns = still, .random = not_random } };
    guest->bytes = bytes;
    rc = gm_region_new(0, bytes, backing, &guest->region);
    if (rc)
        return rc;
    rc = gm_space_new(&guest->env, &guest->space);
    if (rc)
        goto drop_region;
    rc = gm_space_change(guest->space, &change);
    if (rc)
        goto free_space;
    guest->host = gm_region_host(guest->region);
    return 0;

free_space:
    gm_space_free(guest->space);
drop_region:
    gm_region_unref(guest->region);
    return rc;
}

int fake_guest_init_at(struct fake_guest *guest, void *host, uint64_t bytes)
{
    struct gm_backing backing = { .kind = host ? GM_BORROWED : GM_ANONYMOUS, .host = host };

    return init(guest, &backing, bytes);
}

int fake_guest_init_shared(struct fake_guest *guest, uint64_t bytes)
{
    struct gm_backing backing = { .kind = GM_MEMFD };

    return init(guest, &backing, bytes);
}

int fake_guest_init(struct fake_guest *guest, uint64_t bytes)
{
    return fake_guest_init_at(guest, NULL, bytes);
}

void fake_guest_exit(struct fake_guest *guest)
{
    gm_space_free(guest->space);
    gm_region_unref(guest->region);
}
