/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The simulation (docs/simulation.md): whole machines, single-threaded, in virtual time, over the
 * fake hypervisor; everything that happens follows from one seed.
 *
 *   main.c    options, one seed after another    world.c   the machine, save and load
 *   cpu.c     the guest's accesses through vCPUs  bus.c     the transports as a driver sees them
 *   driver.c  queues, requests, what they gave    lies.c    a hostile driver
 *   steps.c   the scheduler, what must hold       echo.c    a slow device, and the planted bugs
 *   unplug.c  devices that are taken out          far.c     devices in processes of their own
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include <vmm/base/loop.h>
#include <vmm/hypervisor/fake.h>
#include <vmm/machine/machine.h>
#include <vmm/virtio/device.h>

#include "fake_driver.h"
#include "mortal.h"
#include "test_arch.h"

enum {
    SIM_CPUS = 2,
    SIM_DEVS = 5,
    SIM_QUEUES = 2,
    SIM_SLOTS = 32, /* requests of a queue in flight, each with so many bytes: */
    SIM_SLOT_BYTES = 1024,
    SIM_RING_BYTES = 32 << 10,
    SIM_QUEUE_BYTES = SIM_RING_BYTES + SIM_SLOTS * SIM_SLOT_BYTES,
    SIM_SECTOR = 512,
    SIM_SECTORS = 64,
    SIM_WIRES = 24, /* wired interrupts that the devices have */
    SIM_STREAM = 1 << 16, /* bytes of a console, of random numbers */
    SIM_SERIALS = 1 << 15, /* requests of all echo devices */
    SIM_GHOSTS = 64, /* dead processes that have not ended yet */
};
#define SIM_RAM_BYTES (4ULL << 20)
#define SIM_RAM_END   (TEST_RAM_BASE + SIM_RAM_BYTES)
#define SIM_HEAP      (TEST_RAM_BASE + (1ULL << 20))
#define SIM_HEAP_END  (SIM_HEAP + (uint64_t)SIM_DEVS * SIM_QUEUES * SIM_QUEUE_BYTES)
#define SIM_VECTOR    0x30U /* of wired interrupt n: + n */

enum sim_plant {
    SIM_PLANT_NONE,
    SIM_LOST_KICK,
    SIM_LOCK_INVERSION,
    SIM_LATE_COMPLETION,
    SIM_LATE_REMOVAL,
    SIM_RUNS_TWICE, /* from here on in echo devices with processes of their own */
    SIM_OUT_OF_LOG
};
enum sim_kind { SIM_RNG, SIM_BLK, SIM_CONSOLE, SIM_ECHO, SIM_KINDS };

/* An access of the guest, on its way through a vCPU's exit. */
struct sim_cpu {
    struct sim *sim;
    enum { SIM_IDLE, SIM_WANTED, SIM_ISSUED } state;
    enum { SIM_MEMORY, SIM_PORT, SIM_EOI } what;
    bool is_write;
    uint64_t addr, value;
    unsigned len;
};

#define SIM_FAR "far" /* the id of a device in its own process */

/* What is known of a request in flight. */
struct sim_req {
    bool out;
    uint8_t slot;
    uint8_t op; /* blk: request type */
    uint32_t readable, writable, sector;
    uint32_t serial; /* echo */
};

struct sim_queue {
    struct fake_driver drv;
    bool made;
    gpa_t base; /* rings, then slots */
    bool slot_used[SIM_SLOTS];
    struct sim_req req[256]; /* by id */
    bool owed; /* the device wants a kick that was not given yet */
    bool irq; /* an interrupt came */
    bool quiet; /* the driver polls */
    bool endless; /* its requests may stay out for ever */
};

/* A device in a process of its own, behind vhost-user. */
struct sim_far {
    bool on;
    const struct vdev_class *cls; /* the device's; sim_dev's is the front end's */
    void *config;
    struct mortal *m; /* the last process, dead or alive */
    uint64_t due; /* the next one begins, or the liar dies */
    bool unsettled; /* what the last one had taken may not have been taken up yet */
    struct fake_back_end *liar; /* in the process's place; NULL: none */
    unsigned deaths;
    size_t chains,
        settled; /* a console's: chains sent, the first byte that is not accepted as it is */
    uint32_t *chain;
};

struct sim_dev {
    unsigned number;
    enum sim_kind kind;
    const struct vdev_class *cls;
    void *config;
    char id[VDEV_ID_MAX + 1];
    bool pci, msix, up, sick;
    /* Its removal was asked for; it is out; its memory was filled, and since then looked at so often. */
    bool leaving, gone, swept;
    unsigned looks;
    /* PCI */
    unsigned segment;
    uint64_t ecam, bar, window_base, window_bytes;
    unsigned msix_cap, msix_bar_offset, common, notify, notify_step, isr, space;
    /* mmio */
    uint64_t base;
    uint32_t gsi;
    uint64_t features;
    unsigned queues;
    struct sim_queue q[SIM_QUEUES];
    /* console: what was sent, what is known to have come out */
    uint8_t *sent;
    size_t sent_len;
    int file;
    struct sim_far far;
};

/* How often the effect of an echo device's request took place, and how often its process died between that and the mark. */
struct sim_effect {
    uint8_t runs, excused;
};

struct sim {
    uint64_t seed, state[4];
    unsigned steps, step;
    bool verbose;
    enum sim_plant plant;
    uint64_t digest; /* of everything the guest saw */

    struct vm_env env;
    struct hv *hv;
    struct vmm_machine *machine;
    struct vmm_machine_config config;
    struct vmm_machine_device want[SIM_DEVS];
    enum { SIM_RUNS, SIM_PAUSING, SIM_PAUSED } life;
    uint8_t *ram; /* host address of its first byte: sim_host() */
    uint64_t quiet_hash; /* of the drivers' memory when the pause began */
    struct sim_cpu cpu[SIM_CPUS];
    bool unplugs; /* devices may be taken out now */
    bool far_lies; /* processes may be replaced by liars, and die again at once */
    struct sim_dev *acting; /* whose driver is at work */
    struct sim_dev *removing;

    struct sim_dev dev[SIM_DEVS];
    unsigned devs;
    bool wired[SIM_WIRES],
        level[SIM_WIRES]; /* interrupts that wait; lines of the kernel's controller */

    uint8_t disk[SIM_SECTORS * SIM_SECTOR];
    uint8_t busy[SIM_SECTORS]; /* requests in flight: 1 read, 2 write */
    int disk_fd;
    bool disk_known;
    uint8_t random[SIM_STREAM]; /* what the entropy device drew and the driver has not seen */
    size_t random_len;
    struct sim_dev serial; /* only its stream */
    struct sim_effect effect[SIM_SERIALS];
    uint32_t serials;
    struct mortal *ghost[SIM_GHOSTS];
    unsigned ghosts;
    unsigned pauses, moves, requests, lies, loads, removals, deaths, liars;
};

/* main.c: the seed has failed. */
noreturn void sim_fail(struct sim *s, const char *format, ...) VM_PRINTF(2, 3);
void sim_say(const struct sim *s, const char *format, ...) VM_PRINTF(2, 3);

/* The seed's numbers: xoshiro256** (Blackman and Vigna, 2018), seeded by splitmix64. */
uint64_t sim_next(struct sim *s);
static inline uint32_t sim_below(struct sim *s, uint32_t n)
{
    return (uint32_t)((sim_next(s) >> 32) * n >> 32);
}
static inline uint32_t sim_between(struct sim *s, uint32_t low, uint32_t high)
{
    return low + sim_below(s, high - low + 1);
}
static inline bool sim_one_in(struct sim *s, uint32_t n)
{
    return !sim_below(s, n);
}

/* world.c */
extern const struct vdev_class sim_echo_class;
void sim_open(struct sim *s);
void sim_close(struct sim *s);
/* The machine is paused: saved, destroyed, made anew, paused before its first instruction,
 * loaded. */
void sim_reload(struct sim *s);
uint64_t sim_hash(const void *data, size_t len);
static inline uint8_t *sim_host(const struct sim *s, gpa_t at)
{
    return s->ram + (at - TEST_RAM_BASE);
}
static inline uint64_t sim_heap_hash(const struct sim *s)
{
    return sim_hash(sim_host(s, SIM_HEAP), SIM_HEAP_END - SIM_HEAP);
}

/* cpu.c: accesses of the guest. Meanwhile other things may happen: the loop runs, the machine is
 * paused or replaced. */
uint64_t sim_read(struct sim *s, uint64_t addr, unsigned len);
void sim_write(struct sim *s, uint64_t addr, unsigned len, uint64_t value);
/* A register of the platform: by port, or in memory, as the architecture has it. */
uint64_t sim_register(struct sim *s, uint32_t at);
void sim_set_register(struct sim *s, uint32_t at, uint32_t value);
uint64_t sim_in(struct sim *s, uint16_t port, unsigned len);
void sim_out(struct sim *s, uint16_t port, unsigned len, uint32_t value);
void sim_eoi(struct sim *s, uint8_t vector);
void sim_guest_attach(struct sim *s);
/* Whatever may happen between two instructions of the guest. stuck: nothing else will go on, so
 * time must. */
void sim_background(struct sim *s, bool stuck);
void sim_take_interrupts(struct sim *s);
void sim_wait_running(struct sim *s);
void sim_pass(struct sim *s, uint64_t ns);
void sim_pause(struct sim *s);

/* bus.c */
void sim_bus_probe(struct sim *s, struct sim_dev *d);
uint64_t sim_bus_features(struct sim *s, struct sim_dev *d);
void sim_bus_set_features(struct sim *s, struct sim_dev *d, uint64_t features);
uint8_t sim_bus_status(struct sim *s, struct sim_dev *d);
void sim_bus_set_status(struct sim *s, struct sim_dev *d, uint8_t status);
/* Writes 0 and waits as a driver of this transport does. */
void sim_bus_reset(struct sim *s, struct sim_dev *d);
unsigned sim_bus_queue_max(struct sim *s, struct sim_dev *d, unsigned n);
void sim_bus_queue(struct sim *s, struct sim_dev *d, unsigned n, const struct fake_driver *drv);
/* Stops the queue alone, and waits likewise. */
void sim_bus_queue_stop(struct sim *s, struct sim_dev *d, unsigned n);
void sim_bus_kick(struct sim *s, struct sim_dev *d, unsigned n);
/* ISR or InterruptStatus, acknowledged. */
unsigned sim_bus_interrupt(struct sim *s, struct sim_dev *d);
void sim_bus_move(struct sim *s, struct sim_dev *d);
uint32_t sim_bus_space(struct sim *s, struct sim_dev *d, unsigned offset, unsigned len);

/* driver.c */
enum { SIM_PATTERN = 0xa5 }; /* in memory that is the guest's own again */
void sim_driver_start(struct sim *s, struct sim_dev *d);
/* Resets the device, and looks that nothing is written after. */
void sim_driver_stop(struct sim *s, struct sim_dev *d);
/* The same with one queue, which begins anew; where the driver may. */
void sim_driver_stop_queue(struct sim *s, struct sim_dev *d);
void sim_driver_offer(struct sim *s, struct sim_dev *d);
void sim_driver_kick(struct sim *s, struct sim_dev *d, unsigned n);
void sim_driver_collect(struct sim *s, struct sim_dev *d, unsigned n);
void sim_driver_mode(struct sim *s, struct sim_dev *d);
/* Handles the interrupts that came. True: there were some. */
bool sim_driver_interrupts(struct sim *s);
void sim_driver_exit(struct sim_dev *d);
void sim_stream_check(struct sim *s, struct sim_dev *d, bool all);

/* lies.c */
void sim_lie(struct sim *s, struct sim_dev *d);

/* unplug.c */
/* A device, whichever, whatever it is doing. */
void sim_unplug(struct sim *s);
/* This one, and waits until it is out. */
void sim_unplug_now(struct sim *s, struct sim_dev *d);
/* A new machine has all devices: those that were out go again. */
void sim_unplug_again(struct sim *s);
/* What the driver of a device may do that is leaving, or out. */
void sim_unplug_touch(struct sim *s, struct sim_dev *d);
/* Nothing is left of the devices that are out. all: also of those that were looked at often. */
void sim_unplug_check(struct sim *s, bool all);

/* far.c */
/* The process and the options of its front end. */
void sim_far_configure(struct sim *s, struct sim_dev *d, const char *options);
/* env.open for a front end. */
int sim_far_connect(struct sim *s, const char *name);
/* Something happens to a process, whichever. */
void sim_far_step(struct sim *s);
/* One dies, now or soon: at any time. */
void sim_far_die(struct sim *s);
/* Outside of the loop's call-backs: the dead end, others begin. */
void sim_far_tend(struct sim *s);
/* All are alive and serve: no liar is left, and nobody dies any more for now. False: not yet. */
bool sim_far_settled(struct sim *s);
/* Its process lives, and has taken up all that was in flight. */
bool sim_far_is_whole(const struct sim_dev *d);
void sim_far_close(struct sim *s);
/* A console's output: what was sent, but a chain may stand there twice for each death. */
void sim_far_note_chain(struct sim *s, struct sim_dev *d, uint32_t len);
bool sim_far_stream_fits(const struct sim_dev *d, const uint8_t *came, size_t len, bool all);
/* The stream is what has come. */
void sim_far_stream_forget(struct sim_dev *d, size_t len);

/* steps.c */
void sim_run(struct sim *s);

#endif
