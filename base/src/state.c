/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The state codec (docs/snapshot-format.md). Loading works on a copy of the object and gives it
 * back only when every byte was understood, so that broken bytes change nothing.
 */
#include <vmm/base/state.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>

#define SECTION_HEADER 8u
#define FIELD_HEADER   8u
#define ROWS_MAX       256u

/* What a load knows on its way: the bytes left and where they began, for the error's text. */
struct reader {
    const uint8_t *start, *at, *end;
    uint16_t version;
};

struct header {
    uint16_t tag;
    uint8_t type;
    uint8_t reserved;
    uint32_t length;
};

void vm_buffer_free(struct vm_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct vm_buffer){ 0 };
}

int vm_buffer_add(struct vm_buffer *buffer, const void *data, size_t len)
{
    size_t need, room = buffer->room ? buffer->room : 256;
    uint8_t *grown;

    if (!vm_add(buffer->len, len, &need))
        return vm_fail(-ENOMEM, "buffer of %zu bytes: %zu more do not fit", buffer->len, len);
    while (room < need) {
        if (!vm_mul(room, (size_t)2, &room))
            room = need;
    }
    if (room != buffer->room) {
        grown = realloc(buffer->data, room);
        if (!grown)
            return vm_fail(-ENOMEM, "buffer: no memory for %zu bytes", room);
        buffer->data = grown;
        buffer->room = room;
    }
    if (len)
        memcpy(buffer->data + buffer->len, data, len);
    buffer->len = need;
    return 0;
}

static int add_int(struct vm_buffer *buffer, uint64_t value, unsigned bytes)
{
    uint8_t raw[8];

    vm_store_le(raw, bytes, value);
    return vm_buffer_add(buffer, raw, bytes);
}

static uint32_t load_u32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* Bytes of a scalar on the wire and in the struct (bool is one byte on every ABI we build for). */
static unsigned scalar_bytes(uint8_t type)
{
    switch (type) {
    case VM_STATE_U8: return 1;
    case VM_STATE_U16: return 2;
    case VM_STATE_U32: return 4;
    case VM_STATE_U64: return 8;
    case VM_STATE_BOOL: return 1;
    default: return 0;
    }
}

_Static_assert(sizeof(bool) == 1, "the codec copies a bool as one byte");

static uint64_t scalar_get(const void *place, uint8_t type)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (type) {
    case VM_STATE_U16: memcpy(&u16, place, sizeof(u16)); return u16;
    case VM_STATE_U32: memcpy(&u32, place, sizeof(u32)); return u32;
    case VM_STATE_U64: memcpy(&u64, place, sizeof(u64)); return u64;
    default: memcpy(&u8, place, sizeof(u8)); return type == VM_STATE_BOOL ? u8 != 0 : u8;
    }
}

static void scalar_put(void *place, uint8_t type, uint64_t v)
{
    uint8_t u8 = (uint8_t)(v & 0xff);
    uint16_t u16 = (uint16_t)(v & 0xffff);
    uint32_t u32 = (uint32_t)(v & 0xffffffff);

    switch (type) {
    case VM_STATE_U16: memcpy(place, &u16, sizeof(u16)); break;
    case VM_STATE_U32: memcpy(place, &u32, sizeof(u32)); break;
    case VM_STATE_U64: memcpy(place, &v, sizeof(v)); break;
    default: memcpy(place, &u8, sizeof(u8)); break;
    }
}

/* Elements or bytes in use, which must not exceed the field's max. */
static int used(const struct vm_state_field *f, const uint8_t *object, uint32_t *ret_count)
{
    uint64_t count = f->count_offset ? load_u32(object + f->count_offset) : f->max;

    if (count > f->max || count > UINT32_MAX)
        return vm_fail(-EINVAL, "state: tag %u holds %llu of at most %zu: a bug of the saver",
                       f->tag, (unsigned long long)count, f->max);
    *ret_count = (uint32_t)count;
    return 0;
}

static int save_fields(const struct vm_state_field *fields, uint16_t version, const uint8_t *object,
                       struct vm_buffer *buffer);

/* A u32 of which the value is known later: returns its place. */
static int open_length(struct vm_buffer *buffer, size_t *ret_place)
{
    *ret_place = buffer->len;
    return add_int(buffer, 0, 4);
}

static int close_length(struct vm_buffer *buffer, size_t place)
{
    size_t length = buffer->len - place - 4;

    if (length > UINT32_MAX)
        return vm_fail(-EINVAL, "state: %zu bytes in one field: a bug of the saver", length);
    vm_store_le(buffer->data + place, 4, length);
    return 0;
}

static int save_list(const struct vm_state_field *f, uint16_t version, const uint8_t *object,
                     struct vm_buffer *buffer)
{
    uint32_t count = 0;
    size_t place;
    int rc = used(f, object, &count);

    if (!rc)
        rc = add_int(buffer, count, 4);
    for (uint32_t i = 0; !rc && i < count; i++) {
        rc = open_length(buffer, &place);
        if (!rc)
            rc = save_fields(f->fields, version, object + f->offset + i * f->element_size, buffer);
        if (!rc)
            rc = close_length(buffer, place);
    }
    return rc;
}

static int save_payload(const struct vm_state_field *f, uint16_t version, const uint8_t *object,
                        struct vm_buffer *buffer)
{
    uint32_t count = 0;
    int rc;

    switch (f->type) {
    case VM_STATE_BYTES:
        rc = used(f, object, &count);
        return rc ? rc : vm_buffer_add(buffer, object + f->offset, count);
    case VM_STATE_STRUCT: return save_fields(f->fields, version, object + f->offset, buffer);
    case VM_STATE_LIST: return save_list(f, version, object, buffer);
    default:
        if (!scalar_bytes(f->type))
            return vm_fail(-EINVAL, "state: tag %u has type %u: a bug of the table", f->tag,
                           f->type);
        return add_int(buffer, scalar_get(object + f->offset, f->type), scalar_bytes(f->type));
    }
}

static int save_field(const struct vm_state_field *f, uint16_t version, const uint8_t *object,
                      struct vm_buffer *buffer)
{
    size_t place;
    int rc;

    if (f->since > version)
        return vm_fail(-EINVAL,
                       "state: tag %u is of version %u, the section of %u: a bug of the table",
                       f->tag, f->since, version);
    rc = add_int(buffer, f->tag, 2);
    if (!rc)
        rc = add_int(buffer, f->type, 2); /* type and the reserved byte */
    if (!rc)
        rc = open_length(buffer, &place);
    if (!rc)
        rc = save_payload(f, version, object, buffer);
    return rc ? rc : close_length(buffer, place);
}

static int save_fields(const struct vm_state_field *fields, uint16_t version, const uint8_t *object,
                       struct vm_buffer *buffer)
{
    for (size_t i = 0; fields[i].tag; i++) {
        int rc = i < ROWS_MAX ? save_field(&fields[i], version, object, buffer)
                              : vm_fail(-EINVAL, "state: a table of over %u rows", ROWS_MAX);
        if (rc)
            return rc;
    }
    return 0;
}

int vm_state_save(const struct vm_state_field *fields, uint16_t version, const void *object,
                  struct vm_buffer *buffer)
{
    size_t before = buffer->len, place;
    int rc = add_int(buffer, version, 4); /* version and the reserved word */

    if (!rc)
        rc = open_length(buffer, &place);
    if (!rc)
        rc = save_fields(fields, version, object, buffer);
    if (!rc)
        rc = close_length(buffer, place);
    if (rc)
        buffer->len = before;
    return rc;
}

/* Takes len bytes; NULL when fewer are left. */
static const uint8_t *take(struct reader *r, size_t len)
{
    const uint8_t *p = r->at;

    if ((size_t)(r->end - r->at) < len)
        return NULL;
    r->at += len;
    return p;
}

static int broken(const struct reader *r, const char *why)
{
    return vm_fail(-EPROTO, "state: byte %td: %s", r->at - r->start, why);
}

/* Takes len bytes as a reader of their own. */
static int take_part(struct reader *r, size_t len, struct reader *ret_part)
{
    const uint8_t *p = take(r, len);

    if (!p)
        return broken(r, "a length goes beyond its container");
    *ret_part = (struct reader){ r->start, p, p + len, r->version };
    return 0;
}

static int take_header(struct reader *r, struct header *ret_header)
{
    const uint8_t *p = take(r, FIELD_HEADER);

    if (!p)
        return broken(r, "a field's header is cut off");
    *ret_header = (struct header){
        .tag = (uint16_t)vm_load_le(p, 2),
        .type = p[2],
        .reserved = p[3],
        .length = (uint32_t)vm_load_le(p + 4, 4),
    };
    return ret_header->reserved ? broken(r, "a reserved byte is not 0") : 0;
}

static int load_fields(const struct vm_state_field *fields, struct reader *r, uint8_t *object);

static int load_scalar(const struct vm_state_field *f, struct reader *r, uint8_t *object)
{
    unsigned bytes = scalar_bytes(f->type);
    uint64_t v;

    if ((size_t)(r->end - r->at) != bytes)
        return vm_fail(-EPROTO, "state: tag %u has %td bytes, %u are right", f->tag, r->end - r->at,
                       bytes);
    v = vm_load_le(r->at, bytes);
    if (f->type == VM_STATE_BOOL && v > 1)
        return vm_fail(-EPROTO, "state: tag %u: bool is %llu, only 0 and 1 are right", f->tag,
                       (unsigned long long)v);
    scalar_put(object + f->offset, f->type, v);
    return 0;
}

/* Stores how many bytes or elements came, which the field must be able to hold. */
static int set_used(const struct vm_state_field *f, size_t count, uint8_t *object)
{
    uint32_t count32 = (uint32_t)(count & UINT32_MAX);

    if (count > f->max || (!f->count_offset && count != f->max))
        return vm_fail(-EPROTO, "state: tag %u holds %zu, %s%zu %s right", f->tag, count,
                       f->count_offset ? "at most " : "", f->max, f->max == 1 ? "is" : "are");
    if (f->count_offset)
        memcpy(object + f->count_offset, &count32, sizeof(count32));
    return 0;
}

static int load_bytes(const struct vm_state_field *f, struct reader *r, uint8_t *object)
{
    size_t len = (size_t)(r->end - r->at);
    int rc = set_used(f, len, object);

    if (rc)
        return rc;
    if (len)
        memcpy(object + f->offset, r->at, len);
    memset(object + f->offset + len, 0, f->max - len);
    return 0;
}

static int load_list(const struct vm_state_field *f, struct reader *r, uint8_t *object)
{
    const uint8_t *p = take(r, 4);
    uint8_t *items = object + f->offset;
    struct reader part;
    uint32_t count;
    int rc;

    if (!p)
        return broken(r, "a list's count is cut off");
    count = (uint32_t)vm_load_le(p, 4);
    rc = set_used(f, count, object);
    for (uint32_t i = 0; !rc && i < count; i++) {
        p = take(r, 4);
        if (!p)
            return broken(r, "a list's element is cut off");
        rc = take_part(r, (size_t)vm_load_le(p, 4), &part);
        if (!rc)
            rc = load_fields(f->fields, &part, items + i * f->element_size);
    }
    if (rc)
        return rc;
    if (r->at != r->end)
        return broken(r, "bytes behind a list's last element");
    memset(items + count * f->element_size, 0, (f->max - count) * f->element_size);
    return 0;
}

static int load_payload(const struct vm_state_field *f, struct reader *r, uint8_t *object)
{
    switch (f->type) {
    case VM_STATE_BYTES: return load_bytes(f, r, object);
    case VM_STATE_STRUCT: return load_fields(f->fields, r, object + f->offset);
    case VM_STATE_LIST: return load_list(f, r, object);
    default: return load_scalar(f, r, object);
    }
}

/* The row of a tag that this section's version knows; ROWS_MAX when there is none. */
static size_t find_row(const struct vm_state_field *fields, uint16_t version, uint16_t tag)
{
    for (size_t i = 0; fields[i].tag && i < ROWS_MAX; i++) {
        if (fields[i].tag == tag && fields[i].since <= version)
            return i;
    }
    return ROWS_MAX;
}

static int load_field(const struct vm_state_field *fields, struct reader *r, uint8_t *object,
                      bool seen[static ROWS_MAX])
{
    struct header h = { 0 };
    struct reader part;
    size_t row;
    int rc = take_header(r, &h);

    if (rc)
        return rc;
    row = find_row(fields, r->version, h.tag);
    if (row == ROWS_MAX)
        return vm_fail(-EPROTO, "state: tag %u is unknown in version %u", h.tag, r->version);
    if (h.type != fields[row].type)
        return vm_fail(-EPROTO, "state: tag %u has type %u, %u is right", h.tag, h.type,
                       fields[row].type);
    if (seen[row])
        return vm_fail(-EPROTO, "state: tag %u stands there twice", h.tag);
    seen[row] = true;
    rc = take_part(r, h.length, &part);
    return rc ? rc : load_payload(&fields[row], &part, object);
}

static int load_fields(const struct vm_state_field *fields, struct reader *r, uint8_t *object)
{
    bool seen[ROWS_MAX] = { false };

    while (r->at != r->end) {
        int rc = load_field(fields, r, object, seen);
        if (rc)
            return rc;
    }
    for (size_t i = 0; fields[i].tag && i < ROWS_MAX; i++) {
        if (!seen[i] && fields[i].since <= r->version)
            return vm_fail(-EPROTO, "state: tag %u is missing", fields[i].tag);
    }
    return 0;
}

/* Checks the section's header and leaves the reader at its fields. */
static int open_section(struct reader *r, uint16_t version)
{
    const uint8_t *p = take(r, SECTION_HEADER);

    if (!p)
        return broken(r, "the section's header is cut off");
    r->version = (uint16_t)vm_load_le(p, 2);
    if (vm_load_le(p + 2, 2))
        return broken(r, "the section's reserved word is not 0");
    if (!r->version)
        return vm_fail(-EPROTO, "state: version 0 does not exist");
    if (r->version > version)
        return vm_fail(-ENOTSUP,
                       "state: written as version %u, this program knows up to %u: use a newer one",
                       r->version, version);
    if (vm_load_le(p + 4, 4) != (size_t)(r->end - r->at))
        return vm_fail(-EPROTO, "state: the section says %llu bytes, there are %td",
                       (unsigned long long)vm_load_le(p + 4, 4), r->end - r->at);
    return 0;
}

int vm_state_load(const struct vm_state_field *fields, uint16_t version, const void *untrusted,
                  size_t size, void *object, size_t object_size)
{
    struct reader r = { .start = untrusted, .at = untrusted };
    uint8_t *copy;
    int rc;

    if (size)
        r.end = r.start + size;
    else
        r.end = r.start;
    rc = open_section(&r, version);
    if (rc)
        return rc;
    copy = malloc(object_size);
    if (!copy)
        return vm_fail(-ENOMEM, "state: no memory for %zu bytes", object_size);
    memcpy(copy, object, object_size);
    rc = load_fields(fields, &r, copy);
    if (!rc)
        memcpy(object, copy, object_size);
    free(copy);
    return rc;
}
