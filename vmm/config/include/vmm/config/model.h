/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library config: the surfaces that are made from property tables (vmm/base/prop.h): command line
 * (args.h), JSON (json.h), help, manual page and shell completion (help.h). This header holds what
 * they share: the model (a root table and the classes of its variants), options and commands.
 *
 * Nothing here prints, opens a file or keeps state: text goes in as bytes and out into a struct
 * vm_buffer, where a zero byte that len does not count follows it.
 *
 * Threads: models, options and commands are const tables; objects belong to the caller.
 * ABI: none promised before 1.0.
 */
#ifndef VMM_CONFIG_MODEL_H
#define VMM_CONFIG_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/prop.h>

/* The classes that VM_PROP_VARIANTS may hold, in the order they are listed. */
struct vmm_config_classes {
    void *ctx;
    /* Fills *ret_class with the class at index; false behind the last one. What it points at
     * lives as long as the objects made of it. */
    bool (*at)(void *ctx, size_t index, struct vm_prop_class *ret_class);
    const char *implied; /* class of --device KEY=VALUE, where no name comes first; NULL: refused */
};

/* A root table and the classes of all variants below it. */
struct vmm_config_model {
    const struct vm_prop *props;
    const struct vmm_config_classes *classes; /* NULL: none */
};

/* An item of an object's text that is no key of it but says which object is meant (crosvm's "num=2" of --serial), or is a key of another
 * program's that means the same as one of ours, or means what there is not. */
struct vmm_option_pick {
    const char *item; /* as it stands in the text: "num=2"; NULL ends a table */
    const char *path; /* the property it stands for; NULL: the option's own */
    const char *instead; /* the item that is meant; NULL: none, it is left out */
    const char *
        why; /* it is refused with this, whatever its value is where item is "key="; NULL: it is not */
};

/*
 * One option of a command, or one operand (a word without dashes). What it does to the object
 * follows from the type of the property at path:
 *
 *   BOOL to FD  the value, taken as it is; a later one wins
 *   LIST        the value becomes one more element
 *   OBJECT      "key=value,..." sets members; a later one adds to it
 *   OBJECTS     "key=value,..." becomes one more element
 *   VARIANTS    "CLASS,key=value,..." becomes one more element
 *
 * For the last four "help" as the value asks for the list of keys, "CLASS,help" for those of a
 * class. An empty value is an error unless the property is a STRING or a LIST of them: it comes of
 * a shell's variable that was not set.
 */
struct vmm_option {
    /* Long name without dashes, words joined by -; operands: "KERNEL". NULL ends a table. */
    const char *name;
    char letter; /* short name; 0: none */
    const char *path; /* the property from the root table, "memory.size"; NULL: see call */
    const char *argument; /* placeholder in help: "SIZE"; NULL: the option takes none */
    const char *help; /* one line, no full stop */
    const char *first; /* objects: key of a first item without '=' */
    /* Without argument: the value it stands for (BOOL: on if NULL). Objects: "key=value,..."
     * that is added to the user's text. */
    const char *fixed;
    /* A bare number counts these bytes (1 KiB, 1 MiB or 1 GiB; 0: bytes): as a SIZE, or as the
     * first item of an object ("--memory 512"). */
    uint64_t unit;
    /* Several values may follow (--disk path=a path=b): each next word that begins with KEY= of its
     * table or with the name of a class. Operands: takes all that follow. */
    bool many;
    bool required; /* operands: one must be there */
    const struct vmm_option_pick *picks; /* OBJECT: items that choose another property; or NULL */
    const char *alias_ch; /* cloud-hypervisor's long name where it differs */
    const char *alias_crosvm; /* crosvm's long name where it differs */
    const char *group; /* heading in help; NULL: that of the row before */
    /* Instead of path: called in order with the value (NULL without argument). 0 goes on, a
     * negative errno with text fails, any positive number ends the parsing and is returned. */
    int (*call)(void *ctx, const struct vmm_option *option, const char *value);
};

/* A command: everything that help, manual page, completion and the parser need. --help and -h exist
 * by themselves unless the table has them. */
struct vmm_command {
    const char *name; /* as the user types it: "vmm run" */
    const char *summary; /* one line, no full stop */
    const char *text; /* paragraphs for the manual page, an empty line between them; may be NULL */
    const struct vmm_option *options; /* may be NULL */
    const struct vmm_option *operands; /* in their order; may be NULL */
    const struct vmm_config_model *model; /* may be NULL when no row has a path */
};

/* All commands of a program; the array ends with a row without a name. */
struct vmm_program {
    const char *name; /* "vmm" */
    const char *version;
    const char *summary;
    const struct vmm_command *commands;
};

/* The row at a dotted path and the object that holds its value (object NULL: *ret_object is
 * meaningless). -EINVAL with text. */
int vmm_config_find(const struct vmm_config_model *model, void *object, const char *path,
                    const struct vm_prop **ret_prop, void **ret_object);

/* The class with that name ('_' being the same as '-'). -EINVAL with text: the nearest and the
 * list. */
int vmm_config_class(const struct vmm_config_model *model, const char *what, const char *name,
                     size_t len, struct vm_prop_class *ret_class);

/* Finds mistakes in our own tables, for a test: paths and first keys that lead nowhere, names or
 * letters given twice, rows without help, presets of classes that do not parse. 0, or -EINVAL with
 * text. */
int vmm_config_check_command(const struct vmm_command *command);

#endif
