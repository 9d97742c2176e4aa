/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Machines on the real KVM whose memory is not what their guest thinks: read-only, which `vmm run` makes none of yet, or gone. */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/devices/classes.h>
#include <vmm/hypervisor/kvm.h>
#include <vmm/machine/machine.h>

enum { ENTRY = 0x100000, LINES = 32, LINE_BYTES = 160 };
#define ROM_AT 0x8000000ULL

static struct {
    struct vm_env env;
    char line[LINES][LINE_BYTES];
    unsigned lines, ended;
    enum vmm_end end;
} t;

static void take_log(void *ctx, enum vm_level level, const char *text)
{
    unsigned n = __atomic_fetch_add(&t.lines, 1, __ATOMIC_RELAXED);

    (void)ctx;
    (void)level;
    if (n < LINES)
        strncpy(t.line[n], text, LINE_BYTES - 1);
}

static bool logged(const char *text)
{
    for (unsigned i = 0; i < LINES; i++)
        if (strstr(t.line[i], text))
            return true;
    return false;
}

static uint64_t now(void *ctx, enum vm_clock clock)
{
    struct timespec at;

    (void)ctx;
    clock_gettime(clock == VM_CLOCK_WALL ? CLOCK_REALTIME : CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000ULL + (uint64_t)at.tv_nsec;
}

static int random_bytes(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    memset(buf, 7, len);
    return 0;
}

static void ended(void *ctx, enum vmm_end end)
{
    (void)ctx;
    t.ended++;
    t.end = end;
}

static int kernel(const uint8_t *code, size_t bytes)
{
    Elf64_Phdr p = { .p_type = PT_LOAD,
                     .p_offset = sizeof(Elf64_Ehdr) + sizeof(p),
                     .p_paddr = ENTRY,
                     .p_filesz = bytes,
                     .p_memsz = 0x1000 };
    Elf64_Ehdr e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
                     .e_type = ET_EXEC,
                     .e_machine = EM_X86_64,
                     .e_entry = ENTRY,
                     .e_phoff = sizeof(e),
                     .e_phentsize = sizeof(p),
                     .e_phnum = 1 };
    int fd = memfd_create("kernel", MFD_CLOEXEC);

    cr_assert_eq(vm_pwrite_full(fd, &e, sizeof(e), 0), 0);
    cr_assert_eq(vm_pwrite_full(fd, &p, sizeof(p), sizeof(e)), 0);
    cr_assert_eq(vm_pwrite_full(fd, code, bytes, sizeof(e) + sizeof(p)), 0);
    return fd;
}

static struct gm_region *add_rom(struct vmm_machine *machine)
{
    static const struct gm_backing backing = { .kind = GM_ANONYMOUS, .read_only = true };
    struct gm_region *rom;
    struct gm_change change = { .add = &rom, .add_count = 1 };

    cr_assert_eq(gm_region_new(ROM_AT, 0x1000, &backing, &rom), 0);
    memcpy(gm_region_host(rom), "\xef\xbe\xad\xde", 4);
    cr_assert_eq(gm_space_change(vmm_machine_memory(machine), &change), 0);
    return rom;
}

Test(rom, a_guest_that_writes_to_it_ends_with_its_registers_in_the_log, .timeout = TEST_TIMEOUT)
{
    struct vmm_machine_config config = { .env = &t.env,
                                         .classes = vdev_classes,
                                         .arch = { .cpus = 1, .ram_bytes = 64 << 20 },
                                         .initrd = { "", -1 },
                                         .cmdline = "",
                                         .ended = ended };
    /* movl ROM_AT, %eax; movl %eax, ROM_AT + 8; then what must not be reached: hlt. */
    static const uint8_t code[] = { 0x8b, 0x04, 0x25, 0, 0,    0,    0x08, 0x89, 0x04,
                                    0x25, 8,    0,    0, 0x08, 0xf4, 0xeb, 0xfd };
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    struct vmm_machine *machine;
    struct gm_region *rom;

    if (kvm < 0)
        cr_skip_test("/dev/kvm cannot be used: %s", strerror(errno));
    t.env = (struct vm_env){ .log = take_log, .now_ns = now, .random = random_bytes };
    cr_assert_eq(vm_loop_new(&t.env, 0, &t.env.loop), 0);
    cr_assert_eq(hv_kvm_new(&t.env, kvm, &config.hv), 0, "%s", vm_error_text());
    config.kernel = (struct varch_image){ "kernel", kernel(code, sizeof(code)) };
    cr_assert_eq(vmm_machine_new(&config, &machine), 0, "%s", vm_error_text());
    rom = add_rom(machine);

    cr_assert_eq(vmm_machine_start(machine), 0, "%s", vm_error_text());
    while (!t.ended)
        cr_assert_geq(vm_loop_step(t.env.loop, UINT64_MAX), 0);

    cr_assert_eq(t.end, VMM_END_CRASH);
    cr_assert(logged("a write of 4 bytes to read-only memory at 0x8000008"), "%s", t.line[0]);
    cr_assert(logged("rax 00000000deadbeef"), "%s", t.line[1]);
    cr_assert(logged("rip 000000000010000"), "%s", t.line[1]);
    cr_assert_arr_eq((uint8_t *)gm_region_host(rom) + 8, "\0\0\0", 4);
    gm_region_unref(rom);
    cr_assert_eq(vmm_machine_free(machine), 0);
    hv_free(config.hv);
    close(config.kernel.fd);
    vm_loop_free(t.env.loop);
}

/* The file behind the guest's memory is cut short under it (as a foreign back end might): the guest finds zeros there, can write, and
 * runs on to its own end. */
Test(rom, a_guest_whose_memory_is_cut_short_finds_zeros_and_runs_on, .timeout = TEST_TIMEOUT)
{
    enum { RAM = 64 << 20, LEFT = 32 << 20 };
    /* movl 0x3000000, %eax; incl %eax; movl %eax, 0x3000008; movl 0x3000008, %ebx; ud2: a triple fault, for there is no IDT. */
    static const uint8_t code[] = { 0x8b, 0x04, 0x25, 0, 0,    0,    0x03, 0xff, 0xc0,
                                    0x89, 0x04, 0x25, 8, 0,    0,    0x03, 0x8b, 0x1c,
                                    0x25, 8,    0,    0, 0x03, 0x0f, 0x0b };
    struct vmm_machine_config config = { .env = &t.env,
                                         .classes = vdev_classes,
                                         .arch = { .cpus = 1, .ram_bytes = RAM },
                                         .initrd = { "", -1 },
                                         .cmdline = "",
                                         .ram = { .kind = GM_FILE, .shared = true },
                                         .ended = ended };
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    struct vmm_machine *machine;
    struct vmm_machine_info info;

    if (kvm < 0)
        cr_skip_test("/dev/kvm cannot be used: %s", strerror(errno));
    t.env = (struct vm_env){ .log = take_log, .now_ns = now, .random = random_bytes };
    cr_assert_eq(vm_loop_new(&t.env, 0, &t.env.loop), 0);
    cr_assert_eq(hv_kvm_new(&t.env, kvm, &config.hv), 0, "%s", vm_error_text());
    config.kernel = (struct varch_image){ "kernel", kernel(code, sizeof(code)) };
    config.ram.fd = memfd_create("ram", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(config.ram.fd, RAM), 0);
    cr_assert_eq(vmm_machine_new(&config, &machine), 0, "%s", vm_error_text());
    cr_assert_eq(ftruncate(config.ram.fd, LEFT), 0);

    cr_assert_eq(vmm_machine_start(machine), 0, "%s", vm_error_text());
    while (!t.ended)
        cr_assert_geq(vm_loop_step(t.env.loop, UINT64_MAX), 0);
    while (vm_loop_step(t.env.loop, 0) > 0)
        ;

    vmm_machine_get_info(machine, &info);
    cr_assert_eq(info.brokens, 1, "%s %s %s %s %s", t.line[1], t.line[2], t.line[3], t.line[4],
                 t.line[5]);
    cr_assert(logged("triple fault"), "%s", t.line[0]);
    cr_assert(logged("rax 0000000000000001"), "%s", t.line[1]);
    cr_assert(logged("rbx 0000000000000001"), "%s", t.line[1]);
    cr_assert(logged("guest memory at 0x0, 64 MiB, is broken"), "%s", t.line[0]);
    cr_assert_eq(vmm_machine_free(machine), 0);
    hv_free(config.hv);
    close(config.kernel.fd);
    close(config.ram.fd);
    vm_loop_free(t.env.loop);
}
