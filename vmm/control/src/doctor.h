/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What vmm doctor finds out. */
#ifndef VMM_CONTROL_DOCTOR_H
#define VMM_CONTROL_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

enum finding_state { FINDING_OK, FINDING_NOTE, FINDING_BAD };

/* One thing looked at: bad ones keep machines from running, notes cost a feature. */
struct finding {
    const char *name;
    enum finding_state state;
    char text[256];
    const char *cure; /* NULL: nothing to mend */
};
enum { FINDINGS_MAX = 32 };

struct findings {
    struct finding row[FINDINGS_MAX];
    size_t count;
};

/* Adds a row; text is left to the caller to write into. */
struct finding *vmm_findings_add(struct findings *f, const char *name);

/* vmm_doctor_kvm.c: makes a VM and runs guests in it. */
void vmm_doctor_kvm(struct findings *f);
/* vmm_doctor_host.c: what else a machine can use. */
void vmm_doctor_host(struct findings *f);

#endif
