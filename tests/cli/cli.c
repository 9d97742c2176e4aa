/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Running the program as a user would. */
#include "cli.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOAD = 0x100000, DEADLINE_MS = 20000, STEP_MS = 5, ARGUMENTS_MAX = 40 };

static char directory[64];

void cli_begin(void)
{
    strcpy(directory, "/tmp/vmm-cli-XXXXXX");
    cr_assert(mkdtemp(directory));
    cr_assert(!chdir(directory));
}

void cli_end(void)
{
    char command[96];

    cr_assert(!chdir("/"));
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

const char *cli_directory(void)
{
    return directory;
}

void cli_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    cr_assert(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    close(fd);
}

void cli_sparse(const char *path, off_t size)
{
    cli_file(path, "", 0);
    cr_assert(!truncate(path, size));
}

/* mov dx, port; mov al, value; out dx, al */
#define OUT(port, value) 0x66, 0xba, (port)&0xff, (port) >> 8, 0xb0, (value), 0xee
#define OFF              OUT(0x600, 5 << 2 | 1 << 5)
#define FOREVER          0xeb, 0xfe

static const uint8_t code_off[] = { OFF, FOREVER };
static const uint8_t code_reset[] = { OUT(0x602, 1), FOREVER };
static const uint8_t code_triple[] = { 0x0f, 0x0b };
static const uint8_t code_loop[] = { FOREVER };
static const uint8_t code_hello[] = { OUT(0x3f8, 'h'),
                                      OUT(0x3f8, 'e'),
                                      OUT(0x3f8, 'l'),
                                      OUT(0x3f8, 'l'),
                                      OUT(0x3f8, 'o'),
                                      OUT(0x3f8, '\n'),
                                      OFF,
                                      FOREVER };
/* mov ecx, 0x40000; mov dx, 0x3f8; mov al, '.'; again: out dx, al; dec ecx; jnz again */
static const uint8_t code_flood[] = { 0xb9, 0x00, 0x00, 0x04, 0x00, 0x66, 0xba, 0xf8, 0x03,
                                      0xb0, '.',  0xee, 0xff, 0xc9, 0x75, 0xfb, OFF,  FOREVER };
/* mov dx, 0x604; again: in eax, dx; test al, 1; jz again */
static const uint8_t code_button[] = { 0x66, 0xba, 0x04, 0x06, 0xed,   0xa8,
                                       0x01, 0x74, 0xfb, OFF,  FOREVER };

/* mov eax, 0x20000000: neither memory nor a device. There: jmp rax; or mov [rax], eax. */
#define NOWHERE 0xb8, 0x00, 0x00, 0x00, 0x20
static const uint8_t code_jump[] = { NOWHERE, 0xff, 0xe0 };
static const uint8_t code_write[] = { NOWHERE, 0x89, 0x00, OFF, FOREVER };

#define WAIT_SIZE(cols, rows) 0x8b, 0x06, 0x3d, (cols), 0, (rows), 0, 0x75, 0xf7
static const uint8_t code_window[] = {
    0x0f,
    0x20,
    0xd8, /* mov rax, cr3 */
    0x48,
    0x8b,
    0x00, /* mov rax, [rax]: the table of GiBs */
    0x25,
    0x00,
    0xf0,
    0xff,
    0xff, /* and eax, ~0xfff */
    0xc7,
    0x40,
    0x18,
    0x03,
    0x00,
    0x20,
    0x00, /* mov dword [rax + 3 * 8], 0x200003: the fourth */
    0xc7,
    0x04,
    0x25,
    0xa8,
    0x0f,
    0x20,
    0x00, /* mov dword [0x200000 + 0x1f5 * 8], */
    0x83,
    0x00,
    0xa0,
    0xfe, /* 0xfea00083: 2 MiB around the first virtio-mmio slot */
    0xbe,
    0x00,
    0x01,
    0xb0,
    0xfe, /* mov esi, 0xfeb00100: its configuration space */
    WAIT_SIZE(80, 24), /* again: mov eax, [rsi]; cmp eax, rows << 16 | cols; jnz again */
    OUT(0x3f8, '1'),
    WAIT_SIZE(100, 50),
    OFF,
    FOREVER
};

static const struct {
    const uint8_t *code;
    size_t len;
} kernels[] = {
    [TINY_POWEROFF] = { code_off, sizeof(code_off) },
    [TINY_RESET] = { code_reset, sizeof(code_reset) },
    [TINY_TRIPLE] = { code_triple, sizeof(code_triple) },
    [TINY_LOOP] = { code_loop, sizeof(code_loop) },
    [TINY_HELLO] = { code_hello, sizeof(code_hello) },
    [TINY_FLOOD] = { code_flood, sizeof(code_flood) },
    [TINY_BUTTON] = { code_button, sizeof(code_button) },
    [TINY_JUMP] = { code_jump, sizeof(code_jump) },
    [TINY_WRITE] = { code_write, sizeof(code_write) },
    [TINY_WINDOW] = { code_window, sizeof(code_window) },
};

enum { SEGMENTS = 2, CODE_BYTES = 128 };
struct kernel_file {
    Elf64_Ehdr e;
    Elf64_Phdr p[SEGMENTS];
    uint8_t code[SEGMENTS][CODE_BYTES];
};

static Elf64_Phdr segment(unsigned n, uint64_t at, uint64_t bytes)
{
    return (Elf64_Phdr){ .p_type = PT_LOAD,
                         .p_flags = PF_R | PF_X,
                         .p_offset = offsetof(struct kernel_file, code) + n * CODE_BYTES,
                         .p_paddr = at,
                         .p_vaddr = at,
                         .p_filesz = bytes,
                         .p_memsz = bytes };
}

static Elf64_Ehdr header(uint16_t segments)
{
    return (Elf64_Ehdr){ .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
                         .e_type = ET_EXEC,
                         .e_machine = EM_X86_64,
                         .e_version = EV_CURRENT,
                         .e_entry = LOAD,
                         .e_phoff = offsetof(struct kernel_file, p),
                         .e_ehsize = sizeof(Elf64_Ehdr),
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = segments };
}

void cli_kernel(const char *path, enum tiny what)
{
    struct kernel_file file = { .e = header(1), .p = { segment(0, LOAD, CODE_BYTES) } };

    memcpy(file.code[0], kernels[what].code, kernels[what].len);
    cli_file(path, &file, sizeof(file));
}

void cli_kernel_of(const char *path, const uint64_t at[2], const uint64_t bytes[2])
{
    struct kernel_file file = { .e = header(SEGMENTS) };

    for (unsigned i = 0; i < SEGMENTS; i++)
        file.p[i] = segment(i, at[i], bytes[i]);
    cli_file(path, &file, sizeof(file));
}

static void exec_vmm(const char *const arguments[])
{
    const char *argv[ARGUMENTS_MAX + 2] = { getenv("VMM_PROGRAM") };
    size_t n = 1;

    if (!argv[0])
        _exit(127);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that ends in the middle leaves no machine behind */
    for (size_t i = 0; arguments[i] && n <= ARGUMENTS_MAX; i++)
        argv[n++] = arguments[i];
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

static int status_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

pid_t cli_start(const char *const arguments[])
{
    pid_t pid = fork();

    cr_assert(pid >= 0);
    if (!pid) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 0);
        dup2(null, 1);
        exec_vmm(arguments);
    }
    return pid;
}

int cli_wait(pid_t pid)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
    int status;

    for (int ms = 0; ms < DEADLINE_MS; ms += STEP_MS) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status_code(status);
        nanosleep(&step, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return 200;
}

static bool is_called(pid_t pid, const char *thread, const char *name)
{
    char path[64], comm[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/task/%.12s/comm", pid, thread);
    file = fopen(path, "r");
    if (file && !fgets(comm, sizeof(comm), file))
        comm[0] = 0;
    if (file)
        fclose(file);
    comm[strcspn(comm, "\n")] = 0;
    return !strcmp(comm, name);
}

static pid_t thread_of(pid_t pid, const char *name)
{
    struct dirent *entry;
    pid_t found = 0;
    char path[64];
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    dir = opendir(path);
    cr_assert(dir);
    while (!found && (entry = readdir(dir)))
        if (is_called(pid, entry->d_name, name))
            found = atoi(entry->d_name);
    closedir(dir);
    return found;
}

pid_t cli_hold(pid_t pid, const char *name)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
    pid_t thread;

    while (!(thread = thread_of(pid, name))) /* it names itself */
        nanosleep(&step, NULL);
    cr_assert(!ptrace(PTRACE_SEIZE, thread, NULL, NULL));
    cr_assert(!ptrace(PTRACE_INTERRUPT, thread, NULL, NULL));
    cr_assert_eq(waitpid(thread, NULL, __WALL), thread);
    return thread;
}

void cli_let_go(pid_t thread)
{
    cr_assert(!ptrace(PTRACE_DETACH, thread, NULL, NULL));
}

/* A process does not end for its parent before its threads did for their tracer. */
int cli_wait_held(pid_t pid, pid_t thread)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
    int ms = 0;

    for (; ms < DEADLINE_MS / 2 && !waitpid(thread, NULL, __WALL | WNOHANG); ms += STEP_MS)
        nanosleep(&step, NULL);
    if (ms >= DEADLINE_MS / 2) {
        kill(pid, SIGKILL);
        waitpid(thread, NULL, __WALL);
    }
    return cli_wait(pid);
}

/* Between bind(2) and listen(2) a socket is there and refuses. */
static bool is_there(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct stat st;
    bool answers;
    int fd;

    if (stat(path, &st) || !S_ISSOCK(st.st_mode))
        return !access(path, F_OK);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    answers = !connect(fd, (struct sockaddr *)&addr, sizeof(addr));
    close(fd);
    return answers;
}

int cli_wait_for(const char *path)
{
    const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };

    for (int ms = 0; ms < DEADLINE_MS / 2; ms += STEP_MS) {
        if (is_there(path))
            return 0;
        nanosleep(&step, NULL);
    }
    return -1;
}

/* Reads both pipes until the child has closed them. False: time is up. */
static int collect(struct cli_result *r, int out, int err)
{
    struct pollfd p[2] = { { .fd = out, .events = POLLIN }, { .fd = err, .events = POLLIN } };
    char *to[2] = { r->out, r->err };
    size_t len[2] = { 0, 0 };
    int open_count = 2;

    while (open_count) {
        if (poll(p, 2, DEADLINE_MS) <= 0)
            return 0;
        for (int i = 0; i < 2; i++) {
            char chunk[4096];
            ssize_t n;

            if (p[i].fd < 0 || !p[i].revents)
                continue;
            n = read(p[i].fd, chunk, sizeof(chunk));
            if (n <= 0) {
                p[i].fd = -1;
                open_count--;
                continue;
            }
            if (i == 0)
                r->out_len += (size_t)n;
            for (ssize_t j = 0; j < n && len[i] + 1 < sizeof(r->out); j++)
                to[i][len[i]++] = chunk[j];
        }
    }
    return 1;
}

void cli_run(struct cli_result *r, const char *const arguments[])
{
    int out[2], err[2], in_time;
    pid_t pid;

    memset(r, 0, sizeof(*r));
    cr_assert(!pipe2(out, O_CLOEXEC) && !pipe2(err, O_CLOEXEC));
    pid = fork();
    cr_assert(pid >= 0);
    if (!pid) {
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        exec_vmm(arguments);
    }
    close(out[1]);
    close(err[1]);
    in_time = collect(r, out[0], err[0]);
    if (!in_time)
        kill(pid, SIGKILL);
    r->code = cli_wait(pid);
    if (!in_time)
        r->code = 200;
    close(out[0]);
    close(err[0]);
}

const char *cli_why_not(void)
{
#if defined(__x86_64__)
    return access("/dev/kvm", R_OK | W_OK) ? "no access to /dev/kvm" : NULL;
#else
    return "the kernels of a few instructions are x86_64's";
#endif
}

int cli_has_kvm(void)
{
    return !cli_why_not();
}
