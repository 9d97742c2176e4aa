/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the files of the AML builder share. */
#ifndef VMM_ACPI_AML_PRIVATE_H
#define VMM_ACPI_AML_PRIVATE_H

#include <vmm/acpi/aml.h>

enum vacpi_frame_kind {
    VACPI_FRAME_BLOCK, /* statements; also the top level */
    VACPI_FRAME_IF,
    VACPI_FRAME_PACKAGE,
    VACPI_FRAME_TEMPLATE,
    VACPI_FRAME_FIELD,
};

static inline struct vacpi_aml_frame *vacpi_aml_top(struct vacpi_aml *aml)
{
    return &aml->frames[aml->depth];
}

/* Appends raw bytes; a little-endian number of that many bytes; a NameString; an integer object. */
void vacpi_aml_put(struct vacpi_aml *aml, const void *data, size_t len);
void vacpi_aml_put_le(struct vacpi_aml *aml, uint64_t value, unsigned bytes);
void vacpi_aml_put_path(struct vacpi_aml *aml, const char *path);
void vacpi_aml_put_integer(struct vacpi_aml *aml, uint64_t value);
/* One name segment, filled up to four characters. */
void vacpi_aml_put_segment(struct vacpi_aml *aml, const char *segment, size_t len);
/* Appends value as a PkgLength (20.2.4) that does not count itself: bits of a field. */
void vacpi_aml_put_length(struct vacpi_aml *aml, size_t value);
/* Puts the PkgLength of all that follows start in at start. */
void vacpi_aml_insert_length(struct vacpi_aml *aml, size_t start);

/* An opcode of one byte, or of two where code is over 0xff (prefix in the high byte). */
void vacpi_aml_put_opcode(struct vacpi_aml *aml, unsigned code);

/* A term (value, reference) or a statement begins, and waits for that many operands. False: it must
 * not stand here, or the builder has failed before. */
bool vacpi_aml_term(struct vacpi_aml *aml, uint32_t operands);
bool vacpi_aml_statement(struct vacpi_aml *aml, uint32_t operands);

/* Opens a block at the current end of the code; its header was written. */
void vacpi_aml_push(struct vacpi_aml *aml, enum vacpi_frame_kind kind, size_t start,
                    uint32_t operands);

/* The shortest form of an integer object; returns its length. */
unsigned vacpi_aml_encode_integer(uint64_t value, uint8_t raw[9]);

#endif
