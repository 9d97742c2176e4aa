/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a jailed process is given to build its jail of: name, limits, directories, two compiled filters. The VMM makes it once
 * per device, writes it to a sealed memory file and gives that to the process as one of its fds, at each start anew.
 *
 * Order (VMM): fill the struct, vmm_jail_profile_write(), start children with the fd. (Child): vmm_jail_profile_read(),
 * vmm_jail_enter(), vmm_jail_narrow(), vmm_jail_profile_free().
 * Threads: plain data. ABI: none promised before 1.0.
 */
#ifndef VMM_JAIL_PROFILE_H
#define VMM_JAIL_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/jail/filter.h>

enum { VMM_JAIL_WHO_MAX = 48, VMM_JAIL_DIRS_MAX = 8, VMM_JAIL_FDS_DEFAULT = 1024 };

struct vmm_jail_profile {
    char who[VMM_JAIL_WHO_MAX]; /* for messages: "virtio-blk disk0" */
    bool spawned; /* the spawner took the stages before exec */
    bool
        own_filters; /* enter and narrow are the process's to compile, of its own program's rows, with this action */
    uint32_t action; /* enum vmm_jail_action */
    bool own_threads; /* the process starts threads by itself: filters are loaded for all of them */
    uint32_t
        max_fds; /* RLIMIT_NOFILE; 0: VMM_JAIL_FDS_DEFAULT (512 memory slots, queues, sockets) */
    uint64_t
        max_file_bytes; /* RLIMIT_FSIZE, also for memory files; UINT64_MAX: none. 0 where a device writes no files */
    /* Directories (fds of the process, opened with O_PATH or to read) below which names may be opened: Landlock. */
    struct vmm_jail_dir {
        int32_t fd;
        bool writable;
    } dir[VMM_JAIL_DIRS_MAX];
    uint32_t dirs;
    struct vmm_jail_program *enter, *narrow; /* owned; NULL: no filter */
};

/* A new sealed memory file with all of it (borrowed); the fd (CLOEXEC) belongs to the caller. The fd, or -errno with text. */
int vmm_jail_profile_write(const struct vmm_jail_profile *profile);

/* 0; -EPROTO (not such a file), -ENOMEM or -errno with text. */
int vmm_jail_profile_read(int fd, struct vmm_jail_profile *ret_profile);

/* Frees the programs. */
void vmm_jail_profile_free(struct vmm_jail_profile *profile);

#endif
