/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the files of the property code share. */
#ifndef VMM_BASE_SRC_PROP_PRIV_H
#define VMM_BASE_SRC_PROP_PRIV_H

#include <vmm/base/prop.h>

#define VM_PROP_LIST_MAX    64u /* elements of a LIST that names no max */
#define VM_PROP_OBJECTS_MAX 512u /* elements of OBJECTS that names no max */
#define VM_PROP_TEXT_MAX    4095u /* bytes of a string that names no max */
#define VM_PROP_KEYS_MAX    128u /* keys in one text */
#define VM_PROP_SHOWN       64u /* room of a piece of user text in an error */

/* Where the row's value lies in the object. */
static inline void *vm_prop_place(const struct vm_prop *prop, void *object)
{
    return (char *)object + prop->offset;
}
static inline const void *vm_prop_place_const(const struct vm_prop *prop, const void *object)
{
    return (const char *)object + prop->offset;
}

/* Frees the value of one row and leaves zero, NULL, -1. */
void vm_prop_clear(const struct vm_prop *prop, void *object);

/* Parses a scalar from text, taken as it is, over whatever bytes are there: nothing is freed. */
int vm_prop_set_raw(const struct vm_prop *prop, void *object, const char *what, const char *text,
                    size_t len);

/* Bytes of the quoted text at the start of text, both quotes counted; 0 when it has no end. */
size_t vm_prop_quoted(const char *text, size_t len);

/* The text without its quotes and escapes, terminated, to be freed; NULL without memory. */
char *vm_prop_unquote(const char *quoted, size_t len, size_t *ret_len);

/* Bytes of the item at the start of text, up to a comma outside of quotes and of [brackets]. 0
 * for an empty item; -EINVAL with text when a quote or bracket has no end. */
int vm_prop_list_item(const char *what, const char *key, const char *text, size_t len,
                      size_t *ret_len);

#endif
