/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * AML builder: an append-only writer of ACPI Machine Language (ACPI 6.5, chapter 20) and of
 * resource descriptors (6.4).
 *
 * Everything is written in the order of the byte code, which is prefix order: an operator first,
 * then its operands. What has a length (scope, device, method, package, template ...) is opened by
 * its call and closed by vacpi_aml_end(); lengths and element counts are filled in there.
 *
 *     struct vacpi_aml aml = { 0 };                    DefinitionBlock ("", ...) {
 *     vacpi_aml_scope(&aml, "\\_SB_");                     Scope (\_SB) {
 *     vacpi_aml_method(&aml, "PLUS", 2, false);                Method (PLUS, 2) {
 *     vacpi_aml_op(&aml, VACPI_ADD);                               Add (Arg0, Arg1, Local0)
 *     vacpi_aml_arg(&aml, 0);
 *     vacpi_aml_arg(&aml, 1);
 *     vacpi_aml_local(&aml, 0);
 *     vacpi_aml_op(&aml, VACPI_RETURN);                            Return (Local0)
 *     vacpi_aml_local(&aml, 0);
 *     vacpi_aml_end(&aml);                                     }
 *     vacpi_aml_end(&aml);                                 }
 *     vacpi_tables_dsdt(&tables, &aml);                }
 *
 * Errors are sticky: after the first one every call does nothing, and vacpi_aml_finish() reports
 * it. So no call needs to be checked. The builder knows the number of operands of each operator and
 * finds missing ones, blocks left open, and names that are no ACPI names. What it cannot know is
 * whether a name exists and an object has the right type: the tests of whoever builds run iasl and
 * acpiexec.
 *
 * Paths are written as in ASL: "_CRS", "\\_SB_.PCI0", "^^GED0"; segments shorter than four letters
 * are filled with '_'.
 *
 * Threads: a builder belongs to one thread at a time. No ABI is promised before 1.0.
 */
#ifndef VMM_ACPI_AML_H
#define VMM_ACPI_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/error.h>
#include <vmm/base/state.h>

#define VACPI_AML_DEPTH 32

/* One open block; private to the builder. */
struct vacpi_aml_frame {
    size_t start; /* where its length will be put in */
    size_t after_if; /* end of its last If, where an Else may stand */
    uint32_t pending; /* operands that the last operator still waits for */
    uint32_t count; /* package: elements; field: bits so far */
    uint8_t kind;
};

/* A builder: zero it to begin. Its members are private. */
struct vacpi_aml {
    struct vm_buffer out;
    struct vacpi_aml_frame frames[VACPI_AML_DEPTH];
    uint32_t depth;
    struct vm_error error;
};

/* Frees what a builder holds and leaves it zeroed. Harmless on a zeroed one. */
void vacpi_aml_free(struct vacpi_aml *aml);

/* Ends the building: gives the bytes, without a table header, to *ret_code (which is the caller's,
 * and must be empty) and leaves the builder zeroed, also on error. 0; -EINVAL with text (wrong
 * name, block left open, operand missing ...); -ENOMEM. */
int vacpi_aml_finish(struct vacpi_aml *aml, struct vm_buffer *ret_code);

/* Marks the builder as failed, with text; the first error wins. For helpers that check their
 * input. */
void vacpi_aml_fail(struct vacpi_aml *aml, int code, const char *format, ...) VM_PRINTF(3, 4);

/* -- Blocks (20.2.5.1, 20.2.5.2, 20.2.5.3). Each is closed by vacpi_aml_end(). -- */

void vacpi_aml_scope(struct vacpi_aml *aml, const char *path);
void vacpi_aml_device(struct vacpi_aml *aml, const char *path);
/* args from 0 to 7. A method that makes named objects (CreateField) must be serialized. */
void vacpi_aml_method(struct vacpi_aml *aml, const char *path, unsigned args, bool serialized);
/* The predicate follows as one term, then the statements. */
void vacpi_aml_if(struct vacpi_aml *aml);
/* Directly behind the vacpi_aml_end() of an If. */
void vacpi_aml_else(struct vacpi_aml *aml);
void vacpi_aml_while(struct vacpi_aml *aml);
/* Its terms are its elements; more than 255 make it a VarPackage. */
void vacpi_aml_package(struct vacpi_aml *aml);
/* A buffer of resource descriptors (vacpi_res_*); the end tag is added by vacpi_aml_end(). */
void vacpi_aml_template(struct vacpi_aml *aml);
void vacpi_aml_end(struct vacpi_aml *aml);

/* -- Data (20.2.3). A term each. -- */

void vacpi_aml_integer(struct vacpi_aml *aml, uint64_t value); /* in the shortest encoding */
void vacpi_aml_string(struct vacpi_aml *aml, const char *ascii);
void vacpi_aml_buffer(struct vacpi_aml *aml, const void *data, size_t len);
/* EISAID (19.6) of three capitals and four hexadecimal digits: "PNP0A08". */
void vacpi_aml_eisa_id(struct vacpi_aml *aml, const char *id);
/* ToUUID (19.6): "33db4d5b-1ff7-401c-9657-7441c03dd766". */
void vacpi_aml_uuid(struct vacpi_aml *aml, const char *uuid);

/* -- Names (20.2.2) -- */

/* Name (path, ...): the object follows as one term. */
void vacpi_aml_name(struct vacpi_aml *aml, const char *path);
void vacpi_aml_name_integer(struct vacpi_aml *aml, const char *path, uint64_t value);
void vacpi_aml_name_string(struct vacpi_aml *aml, const char *path, const char *ascii);
/* Name (_HID or _CID ...): as EISA id where it has that form, else as string (6.1.5). */
void vacpi_aml_name_id(struct vacpi_aml *aml, const char *path, const char *id);
/* A reference to an object; also a call of a method without arguments. */
void vacpi_aml_path(struct vacpi_aml *aml, const char *path);
/* A call of a method with that many arguments, which follow. */
void vacpi_aml_call(struct vacpi_aml *aml, const char *path, unsigned args);
void vacpi_aml_local(struct vacpi_aml *aml, unsigned n); /* Local0 to Local7 */
void vacpi_aml_arg(struct vacpi_aml *aml, unsigned n); /* Arg0 to Arg6 */
/* A target that is left out. */
void vacpi_aml_nowhere(struct vacpi_aml *aml);

/* -- Operators (20.2.5.3, 20.2.5.4) -- */

/* The operands follow, in this order. "to" is a target: a local, an argument, a path, or
 * vacpi_aml_nowhere(). */
enum vacpi_op {
    VACPI_STORE, /* from, to */
    VACPI_ADD, /* a, b, to */
    VACPI_SUBTRACT, /* a, b, to */
    VACPI_MULTIPLY, /* a, b, to */
    VACPI_DIVIDE, /* a, b, to remainder, to quotient */
    VACPI_MOD, /* a, b, to */
    VACPI_AND, /* a, b, to */
    VACPI_OR, /* a, b, to */
    VACPI_XOR, /* a, b, to */
    VACPI_NOT, /* a, to */
    VACPI_SHIFT_LEFT, /* a, count, to */
    VACPI_SHIFT_RIGHT, /* a, count, to */
    VACPI_INCREMENT, /* object */
    VACPI_DECREMENT, /* object */
    VACPI_LAND, /* a, b */
    VACPI_LOR, /* a, b */
    VACPI_LNOT, /* a */
    VACPI_LEQUAL, /* a, b */
    VACPI_LNOT_EQUAL, /* a, b */
    VACPI_LGREATER, /* a, b */
    VACPI_LGREATER_EQUAL, /* a, b */
    VACPI_LLESS, /* a, b */
    VACPI_LLESS_EQUAL, /* a, b */
    VACPI_NOTIFY, /* object, value */
    VACPI_RETURN, /* value */
    VACPI_BREAK, /* - */
    VACPI_CONTINUE, /* - */
    VACPI_SIZE_OF, /* object */
    VACPI_INDEX, /* object, index, to */
    VACPI_DEREF_OF, /* reference */
    VACPI_REF_OF, /* object */
    VACPI_COND_REF_OF, /* object, to */
    VACPI_CONCATENATE, /* a, b, to */
    VACPI_TO_INTEGER, /* a, to */
    VACPI_TO_BUFFER, /* a, to */
    VACPI_CREATE_BYTE_FIELD, /* buffer, byte index, name (vacpi_aml_path) */
    VACPI_CREATE_WORD_FIELD, /* as above */
    VACPI_CREATE_DWORD_FIELD, /* as above */
    VACPI_CREATE_QWORD_FIELD, /* as above */
    VACPI_RELEASE, /* mutex */
    VACPI_SLEEP, /* milliseconds */
    VACPI_STALL, /* microseconds */
    VACPI_OPS
};
void vacpi_aml_op(struct vacpi_aml *aml, enum vacpi_op op);

/* Common statements in one call. */
void vacpi_aml_return_integer(struct vacpi_aml *aml, uint64_t value);
void vacpi_aml_notify(struct vacpi_aml *aml, const char *path, uint64_t value);

/* Mutex (path, 0). timeout in milliseconds; 0xffff waits for ever. vacpi_aml_acquire() is a term
 * (its value is true on time-out) as well as a statement. */
void vacpi_aml_mutex(struct vacpi_aml *aml, const char *path);
void vacpi_aml_acquire(struct vacpi_aml *aml, const char *path, uint16_t timeout);
void vacpi_aml_release(struct vacpi_aml *aml, const char *path);

/* External (20.2.5.2): an object of another table; args counts where type is METHOD. All of them
 * stand in one If (Zero) at the beginning, since interpreters before ACPI 6.0 do not know the
 * opcode. */
enum vacpi_object { VACPI_OBJECT_UNKNOWN = 0, VACPI_OBJECT_DEVICE = 6, VACPI_OBJECT_METHOD = 8 };
void vacpi_aml_external(struct vacpi_aml *aml, const char *path, enum vacpi_object type,
                        unsigned args);

/* -- Operation regions and fields (20.2.5.2; 19.6, OperationRegion and Field) -- */

/* Address spaces, also those of a generic address (5.2.3.2). */
enum vacpi_space { VACPI_SPACE_MEMORY = 0, VACPI_SPACE_IO = 1, VACPI_SPACE_PCI_CONFIG = 2 };
enum vacpi_access {
    VACPI_ANY_ACC,
    VACPI_BYTE_ACC,
    VACPI_WORD_ACC,
    VACPI_DWORD_ACC,
    VACPI_QWORD_ACC
};
/* What happens to the bits of an access that are not the unit's own. */
enum vacpi_update { VACPI_PRESERVE, VACPI_WRITE_ONES, VACPI_WRITE_ZEROS };

void vacpi_aml_region(struct vacpi_aml *aml, const char *path, enum vacpi_space space,
                      uint64_t address, uint64_t len);
/* Opens a block for vacpi_aml_unit() and vacpi_aml_unit_at(). */
void vacpi_aml_field(struct vacpi_aml *aml, const char *region, enum vacpi_access access, bool lock,
                     enum vacpi_update update);
/* The next bits of the region; name NULL: they have no name. */
void vacpi_aml_unit(struct vacpi_aml *aml, const char *name, uint32_t bits);
/* Skips to that byte of the region (ASL's Offset); never backwards. */
void vacpi_aml_unit_at(struct vacpi_aml *aml, uint32_t byte);

/* -- Resource descriptors (6.4), inside vacpi_aml_template() -- */

void vacpi_res_memory32_fixed(struct vacpi_aml *aml, bool writable, uint32_t base, uint32_t len);
/* I/O ports of a device that decodes 16 bits (6.4.2.5). len at most 255. */
void vacpi_res_io(struct vacpi_aml *aml, uint16_t min, uint16_t max, uint8_t align, uint8_t len);

enum vacpi_irq_flags {
    VACPI_IRQ_LEVEL = 0,
    VACPI_IRQ_EDGE = 1,
    VACPI_IRQ_HIGH = 0,
    VACPI_IRQ_LOW = 2,
    VACPI_IRQ_SHARED = 4,
    VACPI_IRQ_WAKE = 8,
};
/* IRQ descriptor (6.4.2.1) of one ISA interrupt, 0 to 15. */
void vacpi_res_irq(struct vacpi_aml *aml, unsigned flags, unsigned irq);
/* Extended interrupt descriptor (6.4.3.6): GSIs, which the device consumes. At least one. */
void vacpi_res_interrupt(struct vacpi_aml *aml, unsigned flags, const uint32_t *gsis,
                         unsigned count);

enum vacpi_address_type { VACPI_MEMORY = 0, VACPI_IO = 1, VACPI_BUS_NUMBER = 2 };
enum vacpi_caching { VACPI_UNCACHED, VACPI_CACHED, VACPI_COMBINED, VACPI_PREFETCHABLE };

/* Address space descriptor (6.4.3.5), fixed at [min, max]. */
struct vacpi_address {
    enum vacpi_address_type type;
    unsigned
        bytes; /* of each number: 2, 4 or 8; 0: the shortest that holds min, max, translation */
    bool consumer; /* the device's own registers; else a window to what is behind it */
    enum vacpi_caching caching; /* memory */
    bool read_only; /* memory */
    bool translates_type; /* a memory window becomes I/O behind the bridge, and vice versa */
    uint64_t min, max; /* both included; min = max + 1 is not possible: never empty */
    uint64_t translation; /* added on the primary side */
};
void vacpi_res_address(struct vacpi_aml *aml, const struct vacpi_address *address);

#endif
