/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The built-in tables, with the reason of each row. A call with two spellings has both: AArch64 has no poll, epoll_wait ... */
#include <errno.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/prctl.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <vmm/jail/rows.h>

/* linux/sched.h has more, but cannot be included beside sched.h; of no use without the others here. */
#define CLONE_NEW_ANY                                                                             \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET)

/* A thread of this process and nothing else. clone3(2) keeps its flags in memory, where no filter sees them: refused as
 * missing, so that the C library takes clone(2). */
/* clang-format off */
#define THREADS \
    VM_JAIL("clone", VM_JAIL_BITS(0, CLONE_THREAD | CLONE_VM | CLONE_NEW_ANY, CLONE_THREAD | CLONE_VM)), \
    VM_JAIL_ERRNO("clone3", ENOSYS), \
    VM_JAIL("set_robust_list"), VM_JAIL("rseq") /* a new thread's first calls */

/* Memory that is not executable. */
#define MEMORY \
    VM_JAIL("mmap", VM_JAIL_BITS(2, PROT_EXEC, 0)), \
    VM_JAIL("munmap"), VM_JAIL("brk"), \
    VM_JAIL("madvise") /* free() gives memory back; guest memory's advice */

/* What only several threads need: malloc's arenas but for the first grow by it. */
#define THREADED VM_JAIL("mprotect", VM_JAIL_BITS(2, PROT_EXEC, 0))

/* What a sanitizer's runtime calls besides, at the end of a thread. Never in a release. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
#define SANITIZED_THREAD VM_JAIL("sigaltstack"), VM_JAIL("sched_yield"), VM_JAIL("rt_sigprocmask"),
#define SANITIZED_CHILD  THREADED,
#else
#define SANITIZED_THREAD
#define SANITIZED_CHILD
#endif

/* The event loop waits and is woken (base's loop): no system call of it is one that the kernel restarts after a stop. */
#define WAITING \
    VM_JAIL("epoll_pwait"), VM_JAIL("epoll_pwait2"), \
    VM_JAIL("epoll_ctl"), \
    VM_JAIL("futex"), /* locks; vm_cond_wake(), also where nobody waits */ \
    VM_JAIL("read"), VM_JAIL("write"), /* eventfds, control pipes */ \
    VM_JAIL("clock_gettime") /* where the vDSO cannot answer */

/* Whichever thread a fatal signal reaches gives the user's terminal back. */
#define TERMINAL \
    VM_JAIL("ioctl", VM_JAIL_IS(1, TIOCGPGRP)), VM_JAIL("getpgrp"), VM_JAIL("getpgid"), \
    VM_JAIL("ioctl", VM_JAIL_IS(1, TCSETS)), VM_JAIL("ioctl", VM_JAIL_IS(1, TCGETS))

/* Signals that were handled, a process that was stopped and goes on, and the end. */
#define ENDING \
    VM_JAIL("rt_sigreturn"), VM_JAIL("restart_syscall"), VM_JAIL("exit_group")

/* At most 25 calls with the back end's and the class's rows, which a test counts. One thread, no signal that is handled and
 * returns from, nothing that is waited for but in the loop: no rt_sigreturn, no restart_syscall. A class with threads has THREADED's row itself. */
const struct vm_jail_rule vmm_jail_rows_child_loop[] = {
    SANITIZED_CHILD WAITING,
    MEMORY, /* memory tables of the front end come while the device runs */
    VM_JAIL("exit_group"),
    VM_JAIL("recvmsg"), VM_JAIL("sendmsg"), /* control and vhost-user sockets, with fds */
    VM_JAIL("close"), /* of fds that were replaced */
    VM_JAIL_ERRNO("mremap", ENOMEM), /* realloc() tries it and can do without */
    { 0 },
};

const struct vm_jail_rule vmm_jail_rows_child_start[] = {
    THREADS, THREADED, /* lanes */
    VM_JAIL("rt_sigreturn"), VM_JAIL("restart_syscall"), /* a process that was stopped in its first waits, and goes on */
    VM_JAIL("epoll_create1"), VM_JAIL("eventfd2"), VM_JAIL("timerfd_create"), VM_JAIL("timerfd_settime"), /* loops */
    VM_JAIL("fstat"), /* what the fds it got are; vm_fstat(), for newfstatat's AT_EMPTY_PATH only permits an empty name */
    VM_JAIL("fcntl"), VM_JAIL("lseek"), VM_JAIL("dup"), /* of those fds */
    VM_JAIL("pread64"), VM_JAIL("readv"), VM_JAIL("writev"), /* profile, first bytes of images, log lines */
    VM_JAIL("getsockopt"), VM_JAIL("setsockopt"), VM_JAIL("getsockname"), VM_JAIL("accept4"), /* sockets it got */
    VM_JAIL("poll"), VM_JAIL("ppoll"), /* a first message is waited for */
    VM_JAIL("getrandom"), /* seeds */
    VM_JAIL("getpid"), VM_JAIL("gettid"),
    VM_JAIL("tgkill"), /* abort() of a debug build; PID 1 of its own namespace */
    VM_JAIL("rt_sigaction"), VM_JAIL("rt_sigprocmask"), VM_JAIL("sigaltstack"), /* vmm_jail_report() */
    VM_JAIL("prlimit64", VM_JAIL_IS_64(2, 0)), /* to read only */
    VM_JAIL("sched_getaffinity"), VM_JAIL("sched_yield"),
    VM_JAIL("prctl", VM_JAIL_IS(0, PR_SET_NAME)), /* threads have names */
    VM_JAIL("prctl", VM_JAIL_IS(0, PR_SET_NO_NEW_PRIVS)), /* it is set already: vmm_jail_load() makes sure */
    VM_JAIL("prctl", VM_JAIL_IS(0, PR_SET_VMA)), /* a C library may name its memory */
    VM_JAIL("seccomp"), /* vmm_jail_narrow() */
    VM_JAIL("exit"), /* of a thread */
    { 0 },
};

const struct vm_jail_rule vmm_jail_rows_child_alone[] = {
    SANITIZED_THREAD VM_JAIL("accept4"), /* the socket it listens on */
    { 0 },
};

/* KVM's ioctls have 0xae as type and a number: Documentation/virt/kvm/api.rst. Those from 0x80 on are a vCPU's own. */
#define KVM_VM(text, number) \
    VM_JAIL("ioctl", { .mask = 0xffff, .value = 0xae00 | (number), .argument = 1, .name = (text) })
#define KVM_FAMILY           VM_JAIL("ioctl", VM_JAIL_BITS(1, 0xff00, 0xae00))

const struct vm_jail_rule vmm_jail_rows_vcpu[] = {
    VM_JAIL("ioctl", VM_JAIL_IS(1, KVM_RUN)), /* at each exit: decided first */
    KVM_VM("KVM_SIGNAL_MSI", 0xa5), KVM_VM("KVM_IRQ_LINE", 0x61), /* interrupts of in-process devices */
    KVM_VM("KVM_IRQFD", 0x76), KVM_VM("KVM_SET_GSI_ROUTING", 0x6a), /* MSI-X unmasked, moved */
    KVM_VM("KVM_IOEVENTFD", 0x79), /* BARs moved: doorbells with them */
    KVM_VM("KVM_SET_USER_MEMORY_REGION", 0x46), KVM_VM("KVM_SET_USER_MEMORY_REGION2", 0x49), /* and slots */
    KVM_VM("KVM_RESET_DIRTY_RINGS", 0xc7), /* a full ring */
    VM_JAIL("ioctl", VM_JAIL_BITS(1, 0xff80, 0xae80)), /* its own registers: report of a crash, pause, save */
    VM_JAIL("tgkill"), /* kicks of other vCPUs */
    VM_JAIL("poll"), VM_JAIL("ppoll"), VM_JAIL("writev"), /* console output that is waited for */
    VM_JAIL("preadv2"), VM_JAIL("pread64"), VM_JAIL("pwritev2"), /* cached reads, output */
    VM_JAIL("getrandom"), VM_JAIL("eventfd2"), VM_JAIL("close"), VM_JAIL("getpid"), VM_JAIL("gettid"),
    VM_JAIL("rt_sigprocmask"), VM_JAIL("sched_yield"),
    VM_JAIL("prctl", VM_JAIL_IS(0, PR_SET_NAME)),
    VM_JAIL("set_robust_list"), VM_JAIL("rseq"),
    SANITIZED_THREAD WAITING, MEMORY, THREADED, ENDING, TERMINAL,
    VM_JAIL("mremap"),
    VM_JAIL("exit"),
    { 0 },
};

const struct vm_jail_rule vmm_jail_rows_io[] = {
    TERMINAL, VM_JAIL("ioctl", VM_JAIL_IS(1, TIOCGWINSZ)), VM_JAIL("ioctl", VM_JAIL_IS(1, FIONREAD)),
    KVM_FAMILY, /* interrupts, routes, memory */
    VM_JAIL("recvmsg"), VM_JAIL("sendmsg"), VM_JAIL("recvfrom"), VM_JAIL("sendto"),
    VM_JAIL("accept4"), VM_JAIL("shutdown"), VM_JAIL("getsockopt"), /* sockets it was given */
    VM_JAIL("readv"), VM_JAIL("writev"), VM_JAIL("pread64"), VM_JAIL("pwrite64"), VM_JAIL("preadv2"), VM_JAIL("pwritev2"),
    VM_JAIL("fdatasync"), VM_JAIL("lseek"),
    VM_JAIL("fstat"), VM_JAIL("fstatfs"), VM_JAIL("fcntl"), /* files: a back end's shared memory, images */
    VM_JAIL("poll"), VM_JAIL("ppoll"), VM_JAIL("eventfd2"), VM_JAIL("timerfd_settime"), VM_JAIL("epoll_create1"),
    VM_JAIL("close"), VM_JAIL("getrandom"),
    VM_JAIL("io_setup"), VM_JAIL("io_submit"), VM_JAIL("io_getevents"), VM_JAIL("io_destroy"),
    VM_JAIL("memfd_create"), /* vm_bell: doorbells that a back end has, too */
    VM_JAIL("socketpair", VM_JAIL_IS(0, 1)), /* a back end that came back: its request socket */
    VM_JAIL("tgkill"), VM_JAIL("getpid"), VM_JAIL("gettid"), VM_JAIL("rt_sigprocmask"), VM_JAIL("sched_yield"),
    VM_JAIL("prctl", VM_JAIL_IS(0, PR_SET_NAME)),
    VM_JAIL("set_robust_list"), VM_JAIL("rseq"),
    SANITIZED_THREAD WAITING, MEMORY, THREADED, ENDING,
    VM_JAIL("mremap"),
    VM_JAIL("exit"),
    { 0 },
};

/* The kernel's word on direct I/O is done without, for statx may name any file. When glibc gives memory of a thread's own arena back it
 * looks once into /proc whether memory is overcommitted (check_may_shrink_heap()), and can do without. */
const struct vm_jail_rule vmm_jail_rows_io_make[] = {
    VM_JAIL_ERRNO("statx", ENOSYS), VM_JAIL_ERRNO("openat", EACCES), VM_JAIL_ERRNO("open", EACCES),
    { 0 },
};

const struct vm_jail_rule vmm_jail_rows_main[] = {
    KVM_FAMILY, /* all of the machine's life */
    TERMINAL, VM_JAIL("ioctl", VM_JAIL_IS(1, TCSETSW)), VM_JAIL("ioctl", VM_JAIL_IS(1, TCSETSF)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, TIOCGWINSZ)), VM_JAIL("ioctl", VM_JAIL_IS(1, TIOCGPTPEER)), VM_JAIL("ioctl", VM_JAIL_IS(1, FIONREAD)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, BLKGETSIZE64)), VM_JAIL("ioctl", VM_JAIL_IS(1, BLKSSZGET)), VM_JAIL("ioctl", VM_JAIL_IS(1, BLKPBSZGET)),
    VM_JAIL("ioctl", VM_JAIL_IS(1, BLKROGET)), /* of block devices that are opened */
    VM_JAIL("socket", VM_JAIL_IS(0, 1)), VM_JAIL("socketpair", VM_JAIL_IS(0, 1)), /* AF_UNIX only */
    VM_JAIL("connect"), VM_JAIL("bind"), VM_JAIL("listen"), VM_JAIL("accept4"), VM_JAIL("getsockopt"),
    VM_JAIL("setsockopt"), VM_JAIL("getsockname"),
    VM_JAIL("getpeername"), VM_JAIL("shutdown"), /* control socket, back ends */
    VM_JAIL("recvmsg"), VM_JAIL("sendmsg"), VM_JAIL("recvfrom"), VM_JAIL("sendto"),
    VM_JAIL("open"), VM_JAIL("openat"), VM_JAIL("openat2"), /* the opener: names are judged before */
    VM_JAIL("stat"), VM_JAIL("fstat"), VM_JAIL("lstat"), VM_JAIL("newfstatat"), VM_JAIL("statx"), VM_JAIL("fstatfs"),
    VM_JAIL("access"), VM_JAIL("faccessat"), VM_JAIL("faccessat2"),
    VM_JAIL("readlink"), VM_JAIL("readlinkat"), VM_JAIL("getcwd"), VM_JAIL("getdents64"), /* doctor, plan */
    VM_JAIL("unlink"), VM_JAIL("unlinkat"), VM_JAIL("mkdir"), VM_JAIL("mkdirat"), VM_JAIL("rename"),
    VM_JAIL("renameat"), VM_JAIL("renameat2"), VM_JAIL("fchmod"), VM_JAIL("chmod"),
    VM_JAIL("fchmodat"), /* the socket's file */
    VM_JAIL("lseek"), VM_JAIL("pread64"), VM_JAIL("pwrite64"), VM_JAIL("preadv2"), VM_JAIL("pwritev2"),
    VM_JAIL("readv"), VM_JAIL("writev"), VM_JAIL("fsync"),
    VM_JAIL("fdatasync"), VM_JAIL("fallocate"), VM_JAIL("ftruncate"), VM_JAIL("flock"),
    VM_JAIL("fcntl"), VM_JAIL("dup"), VM_JAIL("dup3"), VM_JAIL("pipe2"), VM_JAIL("close"), VM_JAIL("close_range"),
    VM_JAIL("memfd_create"), VM_JAIL("eventfd2"), VM_JAIL("epoll_create1"), VM_JAIL("timerfd_create"),
    VM_JAIL("timerfd_settime"), VM_JAIL("signalfd4"),
    VM_JAIL("io_setup"), VM_JAIL("io_submit"), VM_JAIL("io_getevents"), VM_JAIL("io_destroy"), /* vm_bell */
    VM_JAIL("poll"), VM_JAIL("ppoll"), VM_JAIL("pidfd_send_signal"), /* device processes that shall end */
    VM_JAIL("wait4"), VM_JAIL("waitid"), /* the spawner's end */
    VM_JAIL("kill"), VM_JAIL("tgkill"), VM_JAIL("getpid"), VM_JAIL("gettid"), VM_JAIL("getppid"),
    VM_JAIL("getuid"), VM_JAIL("geteuid"), VM_JAIL("getgid"), VM_JAIL("getegid"),
    VM_JAIL("rt_sigaction"), VM_JAIL("rt_sigprocmask"), VM_JAIL("sigaltstack"),
    VM_JAIL("clock_nanosleep"), VM_JAIL("nanosleep"),
    VM_JAIL("sched_getaffinity"), VM_JAIL("sched_setaffinity"), VM_JAIL("sched_yield"), /* where vCPUs run */
    VM_JAIL("mbind"), VM_JAIL("set_mempolicy"), /* memory of a host node */
    VM_JAIL("prlimit64"), VM_JAIL("getrlimit"), VM_JAIL("sysinfo"), VM_JAIL("uname"),
    VM_JAIL("getrandom"), VM_JAIL("membarrier"),
    VM_JAIL("prctl", VM_JAIL_IS(0, PR_SET_NAME)), VM_JAIL("prctl", VM_JAIL_IS(0, PR_SET_NO_NEW_PRIVS)),
    VM_JAIL("prctl", VM_JAIL_IS(0, PR_SET_VMA)),
    VM_JAIL("seccomp"), /* threads that are started later load their own */
    THREADS, WAITING, MEMORY, THREADED, ENDING,
    VM_JAIL("mremap"), VM_JAIL("mlock"),
    VM_JAIL("exit"),
    { 0 },
};
/* clang-format on */
