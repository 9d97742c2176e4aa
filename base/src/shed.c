/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that only the start needed. */
#include <vmm/base/shed.h>

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

/* The first object is the program. What is written to, also once, by relocation, is private and would be lost (madvise(2)). */
static int drop_code(struct dl_phdr_info *info, size_t size, void *ctx)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)size, (void)ctx;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t from = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
        uintptr_t to = (info->dlpi_addr + p->p_vaddr + p->p_filesz + page - 1) & ~(page - 1);

        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
            (void)madvise((void *)from, to - from, MADV_DONTNEED); /* else it stays */
    }
    return 1;
}

void vm_shed_when_freed(void)
{
    /* Any value stops the growth of this threshold (mallopt(3), M_MMAP_THRESHOLD); this is the one it begins with. */
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

void vm_shed(void)
{
    (void)malloc_trim(0);
    (void)dl_iterate_phdr(drop_code, NULL);
}
