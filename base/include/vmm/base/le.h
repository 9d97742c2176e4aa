/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Little-endian wire types: a struct each, so that an unconverted read does not compile. */
#ifndef VMM_BASE_LE_H
#define VMM_BASE_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

struct le16 {
    uint16_t raw;
};
struct le32 {
    uint32_t raw;
};
struct le64 {
    uint64_t raw;
};

static inline uint16_t le16_get(struct le16 v)
{
    return le16toh(v.raw);
}
static inline uint32_t le32_get(struct le32 v)
{
    return le32toh(v.raw);
}
static inline uint64_t le64_get(struct le64 v)
{
    return le64toh(v.raw);
}
static inline struct le16 le16_make(uint16_t v)
{
    return (struct le16){ htole16(v) };
}
static inline struct le32 le32_make(uint32_t v)
{
    return (struct le32){ htole32(v) };
}
static inline struct le64 le64_make(uint64_t v)
{
    return (struct le64){ htole64(v) };
}

/* An integer of len bytes (1, 2, 4 or 8; others give 0 / store nothing) at p, which need not be
 * aligned: what bus accesses carry. */
static inline uint64_t vm_load_le(const void *p, unsigned len)
{
    uint64_t v = 0;

    if (len <= sizeof(v))
        memcpy(&v, p, len);
    return le64toh(v);
}
static inline void vm_store_le(void *p, unsigned len, uint64_t v)
{
    v = htole64(v);
    if (len <= sizeof(v))
        memcpy(p, &v, len);
}

#endif
