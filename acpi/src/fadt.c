/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* FADT revision 6.5 (ACPI 6.5, 5.2.9) and FACS version 2 (5.2.10). */
#include <errno.h>
#include <string.h>

#include "tables_private.h"

struct fadt {
    struct vacpi_header header;
    struct le32 facs;
    struct le32 dsdt;
    uint8_t reserved0;
    uint8_t pm_profile;
    struct le16 sci_int;
    struct le32 smi_cmd;
    uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    struct le32 pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
    uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base;
    uint8_t cst_cnt;
    struct le16 c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    struct le16 iapc_boot;
    uint8_t reserved1;
    struct le32 flags;
    struct vacpi_gas reset;
    uint8_t reset_value;
    struct le16 arm_boot;
    uint8_t minor;
    struct le64 x_facs, x_dsdt;
    struct vacpi_gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0,
        x_gpe1;
    struct vacpi_gas sleep_control, sleep_status;
    char hypervisor[8];
} __attribute__((packed));

_Static_assert(sizeof(struct fadt) == 276, "FADT of ACPI 6.x");
_Static_assert(offsetof(struct fadt, facs) == VACPI_FADT_FACS, "");
_Static_assert(offsetof(struct fadt, dsdt) == VACPI_FADT_DSDT, "");
_Static_assert(offsetof(struct fadt, x_facs) == VACPI_FADT_X_FACS, "");
_Static_assert(offsetof(struct fadt, x_dsdt) == VACPI_FADT_X_DSDT, "");

struct facs {
    char signature[4];
    struct le32 len;
    struct le32 hardware_signature;
    struct le32 waking_vector;
    struct le32 global_lock;
    struct le32 flags;
    struct le64 x_waking_vector;
    uint8_t version;
    uint8_t reserved0[3];
    struct le32 ospm_flags;
    uint8_t reserved1[24];
} __attribute__((packed));

_Static_assert(sizeof(struct facs) == 64, "FACS");

/* A block of ports as generic address; port 0: not there. access: the width it is meant for. */
static struct vacpi_gas ports(uint16_t port, unsigned bytes, enum vacpi_access access)
{
    if (!port)
        return (struct vacpi_gas){ 0 };
    return vacpi_gas_make((struct vacpi_register){
        .space = VACPI_SPACE_IO,
        .bits = (uint8_t)(bytes * 8),
        .access = access,
        .address = port,
    });
}

/* Every block in its old form (port, length) and as generic address, which must agree. 4.8.3:
 * status and enable are half of an event block each. */
static void set_pm(struct fadt *f, const struct vacpi_pm_block *pm)
{
    f->sci_int = le16_make(pm->sci_gsi);
    f->smi_cmd = le32_make(pm->smi_port);
    f->acpi_enable = pm->acpi_enable;
    f->acpi_disable = pm->acpi_disable;
    f->pm1a_evt = le32_make(pm->pm1a_event);
    f->pm1a_cnt = le32_make(pm->pm1a_control);
    f->pm_tmr = le32_make(pm->pm_timer);
    f->gpe0 = le32_make(pm->gpe0);
    f->pm1_evt_len = 4;
    f->pm1_cnt_len = 2;
    f->pm_tmr_len = 4;
    f->gpe0_len = pm->gpe0_bytes;
    f->x_pm1a_evt = ports(pm->pm1a_event, 4, VACPI_WORD_ACC);
    f->x_pm1a_cnt = ports(pm->pm1a_control, 2, VACPI_WORD_ACC);
    f->x_pm_tmr = ports(pm->pm_timer, 4, VACPI_DWORD_ACC);
    f->x_gpe0 = ports(pm->gpe0, pm->gpe0_bytes, VACPI_BYTE_ACC);
    /* Over 100 and over 1000: there is no C2 and no C3 state (5.2.9). */
    f->c2_latency = le16_make(0xfff);
    f->c3_latency = le16_make(0xfff);
}

static bool is_byte_register(const struct vacpi_register *r)
{
    return !r->bits || r->bits == 8;
}

static bool check(struct vacpi_tables *tables, const struct vacpi_fadt *fadt)
{
    bool reduced = fadt->flags & VACPI_FADT_HW_REDUCED;

    if (!is_byte_register(&fadt->reset) || !is_byte_register(&fadt->sleep_control) ||
        !is_byte_register(&fadt->sleep_status))
        vacpi_tables_fail(tables, -EINVAL,
                          "FADT: reset and sleep registers have 8 bits, not %u, %u, %u",
                          fadt->reset.bits, fadt->sleep_control.bits, fadt->sleep_status.bits);
    else if (!reduced && (!fadt->pm.pm1a_event || !fadt->pm.pm1a_control || !fadt->pm.pm_timer))
        vacpi_tables_fail(tables, -EINVAL,
                          "FADT: without HW_REDUCED the PM1a and timer blocks are needed");
    else if (!reduced && (!fadt->pm.gpe0 != !fadt->pm.gpe0_bytes || fadt->pm.gpe0_bytes % 2 ||
                          fadt->pm.gpe0_bytes > 30))
        vacpi_tables_fail(tables, -EINVAL, "FADT: GPE0 block of %u bytes: 2 to 30, even",
                          fadt->pm.gpe0_bytes);
    return !tables->error.code;
}

void vacpi_tables_fadt(struct vacpi_tables *tables, const struct vacpi_fadt *fadt)
{
    struct fadt f = {
        .pm_profile = fadt->pm_profile,
        .century = fadt->cmos_century,
        .iapc_boot = le16_make(fadt->iapc_boot),
        .arm_boot = le16_make(fadt->arm_boot),
        .minor = 5,
        .reset = vacpi_gas_make(fadt->reset),
        .reset_value = fadt->reset_value,
        .sleep_control = vacpi_gas_make(fadt->sleep_control),
        .sleep_status = vacpi_gas_make(fadt->sleep_status),
    };
    uint32_t flags = fadt->flags | (fadt->reset.bits ? (uint32_t)VACPI_FADT_RESET_REG : 0);

    if (!check(tables, fadt) || !vacpi_tables_new(tables))
        return;
    f.flags = le32_make(flags);
    memcpy(f.hypervisor, fadt->hypervisor, sizeof(f.hypervisor));
    tables->hw_reduced = fadt->flags & VACPI_FADT_HW_REDUCED;
    if (!tables->hw_reduced)
        set_pm(&f, &fadt->pm);
    vacpi_header_make(&f.header, "FACP", 6);
    vacpi_tables_put(tables, &f, sizeof(f));
}

void vacpi_tables_facs(struct vacpi_tables *tables, uint32_t hardware_signature)
{
    struct facs f = {
        .len = le32_make(sizeof(f)),
        .hardware_signature = le32_make(hardware_signature),
        .version = 2,
    };

    if (!vacpi_tables_new(tables))
        return;
    memcpy(f.signature, "FACS", sizeof(f.signature));
    vacpi_tables_put(tables, &f, sizeof(f));
}
