/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library acpi alone: makes a DSDT with a device and a method, lays it out with the tables it needs, and writes the DSDT
 * to the file named as argument. Look at it with `iasl -d FILE`.
 */
#include <stdio.h>

#include <vmm/acpi/device.h>
#include <vmm/acpi/tables.h>

enum { BASE = 0xe0000, PORT = 0x3f8, GSI = 4 };

static void fill(struct vacpi_tables *tables)
{
    struct vacpi_aml aml = { 0 };
    struct vacpi_fadt fadt = { .flags = VACPI_FADT_HW_REDUCED };

    vacpi_aml_scope(&aml, "\\_SB_");
    vacpi_aml_serial(&aml, "COM1", 0, PORT, GSI, VACPI_IRQ_EDGE);
    vacpi_aml_method(&aml, "TWIC", 1, false);
    vacpi_aml_op(&aml, VACPI_RETURN);
    vacpi_aml_op(&aml, VACPI_ADD);
    vacpi_aml_arg(&aml, 0);
    vacpi_aml_arg(&aml, 0);
    vacpi_aml_nowhere(&aml);
    vacpi_aml_end(&aml);
    vacpi_aml_end(&aml);
    vacpi_tables_dsdt(tables, &aml);
    vacpi_tables_fadt(tables, &fadt);
}

static int write_table(const struct vacpi_image *image, const struct vacpi_place *place,
                       const char *path)
{
    FILE *f = fopen(path, "wb");
    size_t done;

    if (!f)
        return vm_fail_errno("%s", path);
    done = fwrite(image->bytes.data + place->offset, 1, place->len, f);
    if (fclose(f) || done != place->len)
        return vm_fail_errno("%s", path);
    return 0;
}

int main(int argc, char *argv[])
{
    struct vacpi_tables tables = { 0 };
    struct vacpi_image image = { 0 };
    int rc;

    if (argc != 2) {
        fprintf(stderr, "usage: acpi FILE\n");
        return 2;
    }
    fill(&tables);
    rc = vacpi_tables_finish(&tables, BASE, &image);
    for (unsigned i = 0; !rc && i < image.place_count; i++)
        printf("%s at %#x, %u bytes\n", image.places[i].signature, BASE + image.places[i].offset,
               image.places[i].len);
    if (!rc)
        rc = write_table(&image, vacpi_image_find(&image, "DSDT", 0), argv[1]);
    vacpi_image_free(&image);
    if (rc)
        fprintf(stderr, "acpi: %s\n", vm_error_text());
    return rc ? 1 : 0;
}
