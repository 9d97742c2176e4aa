/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Property tables: one table says everything about an option. From it come the command line, JSON,
 * --help, the manual page, completion and validation (library config); this header holds the types,
 * the ranges and the way of one value in and out.
 *
 * A table is an array that ends with a row without a name. It describes a plain struct: each row has
 * an offset into it. Strings and lists inside the struct are allocated by the parser and freed with
 * vm_prop_free().
 *
 * Threads: tables are const; objects belong to the caller.
 */
#ifndef VMM_BASE_PROP_H
#define VMM_BASE_PROP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/state.h>

enum vm_prop_type {
    VM_PROP_BOOL, /* bool: on off true false yes no; a key without value means on */
    VM_PROP_U32, /* uint32_t, decimal or 0x hexadecimal */
    VM_PROP_U64, /* uint64_t, likewise */
    VM_PROP_SIZE, /* uint64_t bytes: 4096, 64K, 256M, 2G, 1T (powers of 1024) */
    VM_PROP_ENUM, /* uint32_t, one of values[] (its index) */
    VM_PROP_STRING, /* char *, NULL when not given */
    VM_PROP_PATH, /* char *, as STRING; completion offers files */
    VM_PROP_FD, /* int, -1 when not given */
    VM_PROP_LIST, /* struct vm_prop_list of element type; command line: [a,b,c] or one value */
    VM_PROP_OBJECT, /* nested struct, described by props */
    VM_PROP_OBJECTS /* struct vm_prop_list of nested structs of element_size */
};

/* A list of values: count elements of the size its type has (strings: char *). */
struct vm_prop_list {
    void *items;
    uint32_t count;
};

/* Which surface a name belongs to. */
enum vm_surface { VM_SURFACE_OWN, VM_SURFACE_CH, VM_SURFACE_CROSVM };

struct vm_prop {
    const char *name; /* lower case, words joined by _ */
    enum vm_prop_type type;
    size_t offset;
    const char *help; /* one line, no full stop */
    const char *preset; /* default, written as on the command line; NULL: zero, NULL or -1 (fd) */
    bool required;
    uint64_t min, max; /* numbers and sizes; max 0: no bound but the type's. LIST: max is the most
                        * elements (0: 64). STRING, PATH: the most bytes (0: 4095) */
    const char *const *values; /* ENUM: spellings, NULL at the end */
    enum vm_prop_type element; /* LIST: type of one element (BOOL to FD) */
    const struct vm_prop *props; /* OBJECT, OBJECTS */
    size_t element_size; /* OBJECTS */
    const char *alias_ch; /* cloud-hypervisor's name where it differs */
    const char *alias_crosvm; /* crosvm's name where it differs */
};

/* Sets every property of *object to its preset, or to zero, NULL, -1. The presets are ours: one
 * that does not parse is a bug and gives -EINVAL with text. -ENOMEM. */
int vm_prop_defaults(const struct vm_prop *props, void *object);

/* Frees strings and lists and leaves zeros. fds are not closed: they are borrowed. */
void vm_prop_free(const struct vm_prop *props, void *object);

/* The row with that name or alias; NULL when there is none. name need not be terminated. */
const struct vm_prop *vm_prop_find(const struct vm_prop *props, const char *name, size_t len);

/* Parses one scalar (BOOL to FD) or LIST from text (len bytes) into its place in *object. what names
 * the object in the error, for example "--disk". -EINVAL or -ERANGE with text: key, value, what would
 * be right. */
int vm_prop_set(const struct vm_prop *prop, void *object, const char *what, const char *text,
                size_t len);

/* Parses "key=value,key,key=[a,b],key=\"quoted, text\"": the command line's form of one object. With
 * first non-NULL, a first item without '=' is the value of that key (as in --disk PATH). Unknown or
 * repeated keys and missing required ones are errors; an unknown key's error names the nearest one and
 * the list. */
int vm_prop_parse(const struct vm_prop *props, void *object, const char *what, const char *first,
                  const char *text);

/* Every required property has a value: 0, or -EINVAL with text. */
int vm_prop_check(const struct vm_prop *props, const void *object, const char *what);

/* Error of an unknown key: names the nearest valid key and the valid list. Returns -EINVAL. */
int vm_prop_unknown(const struct vm_prop *props, const char *what, const char *key, size_t len);

/* Writes one scalar as the command line spells it (sizes in the largest exact unit), terminated.
 * Returns the length; -ENOSPC. */
int vm_prop_format(const struct vm_prop *prop, const void *object, char *ret_text, size_t room);

/* The candidate nearest to word by edit distance, or NULL when none is near. candidates ends with NULL. */
const char *vm_nearest(const char *word, size_t len, const char *const *candidates);

#endif
