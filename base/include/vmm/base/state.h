/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The state codec: what a snapshot section is made of (docs/snapshot-format.md).
 *
 * A table of tagged fields describes a plain struct; saving writes (all little endian, no padding)
 *     section  version:u16 reserved:u16 length:u32, then length bytes of fields
 *     field    tag:u16 type:u8 reserved:u8 length:u32, then length bytes of payload:
 *       U8 .. U64, BOOL   1, 2, 4, 8, 1 bytes
 *       BYTES             the bytes
 *       STRUCT            its fields
 *       LIST              count:u32, then for each element length:u32 and its fields
 * Loading distrusts the bytes: an unknown tag, a wrong type, a length beyond its bound, a
 * duplicate, a reserved byte that is not 0 or a missing field that has no default is refused, with
 * text, before the target is changed. save(load(save(x))) gives equal bytes.
 *
 * Threads: no state of its own; two calls on one struct at once are the caller's error.
 */
#ifndef VMM_BASE_STATE_H
#define VMM_BASE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vm_state_type {
    VM_STATE_U8 = 1,
    VM_STATE_U16,
    VM_STATE_U32,
    VM_STATE_U64,
    VM_STATE_BOOL, /* C bool; 0 or 1 on the wire */
    VM_STATE_BYTES, /* uint8_t[max]; length: its own field, or always max where count_offset is 0 */
    VM_STATE_STRUCT, /* nested: fields */
    VM_STATE_LIST, /* fixed array of max structs of element_size, count in a uint32_t field */
};

struct vm_state_field {
    uint16_t tag; /* from 1, never used again for another meaning */
    uint8_t type;
    uint16_t
        since; /* version of the section that first had it; a section of an older version may lack
                     * it (it keeps the target's value); 0 means 1 */
    size_t offset;
    size_t max; /* bytes of BYTES, elements of LIST */
    size_t
        count_offset; /* BYTES, LIST: the uint32_t that holds the length; it must not be the first
                          * member of the struct, since 0 means a fixed length */
    size_t element_size; /* LIST */
    const struct vm_state_field *fields; /* STRUCT, LIST */
};

/* A growing byte buffer; zero it to begin. */
struct vm_buffer {
    uint8_t *data;
    size_t len, room;
};
void vm_buffer_free(struct vm_buffer *buffer);
/* 0 or -ENOMEM. */
int vm_buffer_add(struct vm_buffer *buffer, const void *data, size_t len);

/* Appends one section: version and the fields of *object. The table ends with tag 0. 0 or -ENOMEM;
 * -EINVAL where a count exceeds its max, a table has over 256 rows or a row is newer than version
 * (bugs of ours). On failure the buffer is as before. */
int vm_state_save(const struct vm_state_field *fields, uint16_t version, const void *object,
                  struct vm_buffer *buffer);

/* Reads a section of exactly size bytes into *object, which holds defaults before. What lies
 * behind the loaded length of BYTES or LIST becomes zero. A newer version than ours is refused.
 * 0; -EPROTO (broken bytes), -ENOTSUP (newer) or -ENOMEM, with text; then *object is unchanged. */
int vm_state_load(const struct vm_state_field *fields, uint16_t version, const void *untrusted,
                  size_t size, void *object, size_t object_size);

#endif
