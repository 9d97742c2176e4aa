/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Property tables: one table says everything about an option. From it come the command line, JSON,
 * --help, the manual page, completion and validation (library config); this header holds the
 * types, the ranges and the way of one value in and out.
 *
 * A table is an array that ends with a row without a name. It describes a plain struct: each row
 * has an offset into it. Strings and lists inside the struct are allocated by the parser and freed
 * with vm_prop_free().
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
    VM_PROP_OBJECTS, /* struct vm_prop_list of nested structs of element_size; as a value on the command
                      * line: [[key=value,...],[...]], or [key=value,...] for one */
    VM_PROP_VARIANTS /* struct vm_prop_list of struct vm_prop_variant: objects whose table depends
                      * on the name of a class (--device NAME,...) */
};

/* A list of values: count elements of the size its type has (strings: char *). items is NULL if none was given; a list that was written as []
 * has items, and a count of 0. */
struct vm_prop_list {
    void *items;
    uint32_t count;
};

/* A class of objects, for VM_PROP_VARIANTS: its name, table and the size of the struct it
 * describes. */
struct vm_prop_class {
    const char *name;
    const char *summary; /* one line */
    const struct vm_prop *props;
    size_t size;
};

/* An element of VM_PROP_VARIANTS. object is allocated and freed with the list; what the class points
 * at must outlive it. */
struct vm_prop_variant {
    struct vm_prop_class class_row;
    void *object;
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
    /* May be changed while the object is in use (vmm set): a scalar that is no text, or a list. */
    bool live;
    /* Numbers and sizes: max 0 means no bound but the type's. LIST: the fewest and most elements
     * (max 0: 64), OBJECTS and VARIANTS likewise (0: 512). STRING, PATH: the most bytes
     * (0: 4095) */
    uint64_t min, max;
    const char *const *values; /* ENUM: spellings, NULL at the end; case does not matter */
    const char *const *values_ch; /* ENUM: cloud-hypervisor's spellings in JSON, in the same order;
                                   * NULL: the same */
    enum vm_prop_type element; /* LIST: type of one element (BOOL to FD) */
    const struct vm_prop *props; /* OBJECT, OBJECTS */
    size_t element_size; /* OBJECTS */
    const char *alias_ch; /* cloud-hypervisor's name where it differs */
    const char *alias_crosvm; /* crosvm's name where it differs */
};

/* Sets every property of *object to its preset, or to zero, NULL, -1. The presets are ours: one
 * that does not parse is a bug and gives -EINVAL with text. -ENOMEM. */
int vm_prop_defaults(const struct vm_prop *props, void *object);

/* Frees strings and lists and leaves zeros (fds: -1). fds are not closed: they are borrowed. The
 * object must hold defaults, values, or zeros. */
void vm_prop_free(const struct vm_prop *props, void *object);

/* The row with that name or alias, '-' being the same as '_'; a name goes before an alias. NULL
 * when there is none. name need not be terminated. */
const struct vm_prop *vm_prop_find(const struct vm_prop *props, const char *name, size_t len);

/* Parses one scalar (BOOL to FD), LIST or OBJECTS from text (len bytes) into its place in *object, where
 * the old value is freed. Scalars are taken as they are; only elements of a LIST may be quoted; OBJECTS are
 * "[[key=value,...],[...]]", each as vm_prop_parse() has it, or one "[key=value,...]".
 * what names the object in the error, for example "--disk". -EINVAL or -ERANGE with text: key,
 * value, what would be right; -ENOMEM. On failure the old value stays. */
int vm_prop_set(const struct vm_prop *prop, void *object, const char *what, const char *text,
                size_t len);

/* Appends one element to the LIST in *object from text, taken as it is. Errors as vm_prop_set(). */
int vm_prop_append(const struct vm_prop *prop, void *object, const char *what, const char *text,
                   size_t len);

/* Appends one element with its defaults to the OBJECTS or VARIANTS in *object. class_row is the
 * class of a variant, else NULL. *ret_element is valid until the next push. -ERANGE beyond the
 * row's max, -EINVAL (a bad preset) with text; -ENOMEM. */
int vm_prop_push(const struct vm_prop *prop, void *object, const char *what,
                 const struct vm_prop_class *class_row, void **ret_element);

/* Takes the last element of OBJECTS or VARIANTS away again. */
void vm_prop_pop(const struct vm_prop *prop, void *object);

/* Parses "key=value,key,key=[a,b],key=\"quoted, text\"": the command line's form of one object.
 * With first non-NULL, a first item without '=' is the value of that key (as in --disk PATH).
 * Inside quotes \" and \\ stand for the character. A member of a nested OBJECT is
 * "object.key=value". Unknown or repeated keys (at most 128) and missing required ones are
 * errors; an unknown key's error names the nearest one and the list. The object holds defaults
 * or earlier values before; after a failure it may hold some of the new ones. */
int vm_prop_parse(const struct vm_prop *props, void *object, const char *what, const char *first,
                  const char *text);

/* Every required property has a value: 0, or -EINVAL with text. A required number has one when
 * it is not 0. Looks into required OBJECTs and into every element of lists, not into optional
 * OBJECTs: who reads one checks it. */
int vm_prop_check(const struct vm_prop *props, const void *object, const char *what);

/* Error of an unknown key: names the nearest valid key and the valid list. Returns -EINVAL. */
int vm_prop_unknown(const struct vm_prop *props, const char *what, const char *key, size_t len);

/* Writes one scalar as the command line spells it (sizes in the largest exact unit; strings without
 * quotes, NULL as nothing), terminated. Returns the length; -ENOSPC; -EINVAL for other types. */
int vm_prop_format(const struct vm_prop *prop, const void *object, char *ret_text, size_t room);

/* Appends the text from which vm_prop_parse() makes an equal object (of size bytes) where there are defaults before: all that differs
 * from its preset, strings in quotes, with a zero byte at the end. fds are written as the numbers they are. -EINVAL (VARIANTS
 * have no such text) with text, -ENOMEM; then the buffer is as before. */
int vm_prop_print(const struct vm_prop *props, const void *object, size_t size,
                  struct vm_buffer *buffer);

/* The bytes a value of a scalar type takes in the struct; 0 for the other types. */
size_t vm_prop_type_size(enum vm_prop_type type);

/* A row that describes one element of the LIST prop, at offset 0. */
struct vm_prop vm_prop_element(const struct vm_prop *prop);

/* Copies at most room - 1 bytes of text for an error's one line: what cannot be printed becomes
 * '?', a cut shows as "...". Returns ret_text. */
const char *vm_prop_show(const char *text, size_t len, char *ret_text, size_t room);

/* The candidate nearest to word by edit distance, or NULL when none is near. candidates ends
 * with NULL. */
const char *vm_nearest(const char *word, size_t len, const char *const *candidates);

#endif
