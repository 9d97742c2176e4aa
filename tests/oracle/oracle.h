/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Register-level oracle: the same accesses to one of our device models, run in this process, and to the same device of
 * a QEMU that is driven by its qtest socket. Every read, every change of the interrupt line and every message is
 * compared; what differs must stand in the table of differences.c, or the test fails. docs/oracle.md tells more.
 *
 *   main.c        options, the sequences of one run, the report
 *   compare.c     one sequence on both sides; shrinking of one that fails
 *   qtest.c       QEMU's side
 *   target_*.c    our side of each device, and its random accesses
 *   differences.c what may differ, and why
 *   text.c        accesses as lines of text: reports and recorded sequences
 */
#ifndef TESTS_ORACLE_ORACLE_H
#define TESTS_ORACLE_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    ORACLE_SPACES = 12,
    ORACLE_TEXT = 256,
    ORACLE_EVENTS = 16, /* that one access may cause; more are counted only */
    ORACLE_OPS_MAX = 4096, /* of one sequence */
};

/* One access. Spaces are the target's: registers of a device that both sides may have at different addresses. */
enum oracle_kind {
    ORACLE_READ,
    ORACLE_WRITE,
    ORACLE_PIN, /* input pin number at of the device becomes value */
};
struct oracle_op {
    enum oracle_kind kind;
    uint8_t space, len; /* len: 1, 2, 4 or 8 */
    uint32_t at;
    uint64_t value;
};

/* What an access causes: the interrupt line changed, or a message went out. */
enum { ORACLE_LINE, ORACLE_MESSAGE };
struct oracle_event {
    unsigned type; /* ORACLE_LINE or ORACLE_MESSAGE */
    uint32_t value; /* level; or what oracle_message() packs */
};
struct oracle_events {
    unsigned count;
    struct oracle_event event[ORACLE_EVENTS];
};

/* A message to local APICs (Intel SDM 3A, 11.11): all that its receivers look at. */
static inline uint32_t oracle_message(unsigned dest, unsigned logical, unsigned mode,
                                      unsigned vector, unsigned level)
{
    return dest << 24 | (logical & 1) << 17 | (level & 1) << 16 | (mode & 7) << 8 | (vector & 0xff);
}

static inline void oracle_note(struct oracle_events *e, unsigned type, uint32_t value)
{
    if (e->count < ORACLE_EVENTS)
        e->event[e->count] = (struct oracle_event){ type, value };
    e->count++;
}

/* Numbers that follow from a seed (xorshift64*), and accesses that a target has decided on already. */
enum { ORACLE_QUEUE = 128 };
struct oracle_random {
    uint64_t state;
    size_t step; /* of the sequence */
    uint64_t memory; /* the target's own */
    unsigned queued;
    struct oracle_op queue[ORACLE_QUEUE];
};
static inline uint64_t oracle_next(struct oracle_random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25 & UINT64_MAX;
    r->state ^= r->state >> 27;
    return r->state;
}
/* Below limit. */
static inline uint32_t oracle_pick(struct oracle_random *r, uint32_t limit)
{
    return (uint32_t)(oracle_next(r) >> 32) % limit;
}
/* This access comes after those that were pushed before. */
static inline void oracle_push(struct oracle_random *r, struct oracle_op op)
{
    if (r->queued < ORACLE_QUEUE)
        r->queue[r->queued++] = op;
}
static inline bool oracle_one_in(struct oracle_random *r, uint32_t n)
{
    return !oracle_pick(r, n);
}

/* ---- QEMU ---- */

/* A QEMU, and what its machines have in common. */
struct oracle_qemu {
    const char *program, *package; /* Debian's */
    const char *controller; /* QOM path of the interrupt controller whose inputs are watched */
    const char *trace; /* events on stderr that qtest.c understands; NULL: none */
};
extern const struct oracle_qemu oracle_x86, oracle_arm;

struct qtest;
/* Starts it with these arguments (ends with NULL; those every machine needs are added). NULL with a line on stderr. */
struct qtest *qtest_start(const struct oracle_qemu *qemu, const char *const *arguments);
void qtest_stop(struct qtest *q);
uint64_t qtest_read(struct qtest *q, bool pio, uint64_t addr, unsigned len);
void qtest_write(struct qtest *q, bool pio, uint64_t addr, unsigned len, uint64_t value);
/* Input pin of the device at that path. */
void qtest_pin(struct qtest *q, const char *path, unsigned pin, bool level);
/* Changes of the interrupt controller's inputs are events from here on. */
void qtest_watch_lines(struct qtest *q);
/* What has happened since the last call. */
void qtest_events(struct qtest *q, struct oracle_events *ret_events);
/* QEMU is gone, or answered FAIL. */
bool qtest_failed(const struct qtest *q);
/* PCI configuration space by the ports 0xcf8 and 0xcfc; bdf: bus, device, function. */
uint32_t qtest_config_read(struct qtest *q, unsigned bdf, unsigned at, unsigned len);
void qtest_config_write(struct qtest *q, unsigned bdf, unsigned at, unsigned len, uint32_t value);

/* ---- targets ---- */

/* Where a space is on one side. */
struct oracle_place {
    enum { ORACLE_NOWHERE, ORACLE_PIO, ORACLE_MMIO, ORACLE_CONFIG, ORACLE_INDEXED } kind;
    uint64_t
        base; /* CONFIG: bdf << 12 | offset; INDEXED: a port that takes the register's number, the next one its value */
};

struct oracle_target {
    const char *name;
    const struct oracle_qemu *qemu; /* NULL: oracle_x86 */
    const char *const *arguments; /* QEMU's */
    const char *const *spaces; /* names, NULL-terminated */
    const char *pin_path; /* of the device that has input pins in QEMU */
    bool lines; /* the interrupt line is compared */
    bool messages; /* ... and messages are */
    /* Our side, as after power-on; one at a time. 0 or -errno. */
    int (*open)(void);
    void (*close)(void);
    /* What a firmware would do on both sides; fills the places. Number of the first step that went wrong, or 0. */
    int (*set_up)(struct qtest *q, struct oracle_place *ours, struct oracle_place *qemu);
    uint64_t (*read)(const struct oracle_place *place, uint32_t at, unsigned len);
    void (*write)(const struct oracle_place *place, uint32_t at, unsigned len, uint64_t value);
    void (*pin)(unsigned pin, bool level);
    /* Moves our side's events out. */
    void (*events)(struct oracle_events *ret_events);
    /* Pushes the next random accesses, one at least. */
    void (*make)(struct oracle_random *r);
};

static inline const struct oracle_qemu *oracle_qemu_of(const struct oracle_target *target)
{
    return target->qemu ? target->qemu : &oracle_x86;
}

extern const struct oracle_target oracle_serial, oracle_ioapic, oracle_cmos_rtc, oracle_pci,
    oracle_virtio_pci, oracle_virtio_mmio, oracle_pl011, oracle_pl031, oracle_pl061;

/* ---- comparing ---- */

/* A sequence. */
struct oracle_case {
    const struct oracle_target *target;
    bool survey; /* print every difference and go on */
    size_t count;
    struct oracle_op *op;
};

/* One access that came out differently. */
struct oracle_diff {
    const struct oracle_case *run;
    size_t step;
    const struct oracle_op *op;
    bool events; /* the events differ; otherwise the value read */
    uint64_t ours, qemu;
    uint64_t before; /* what the last read of QEMU gave */
    const struct oracle_events *ours_events, *qemu_events;
};

/* A row of the table. */
struct oracle_rule {
    const char *target, *reg, *condition, *reason; /* reason names the manual's section */
    /* Bits of the value that this row explains; for events != 0: all of it. NULL: see below. */
    uint64_t (*explains)(const struct oracle_diff *diff);
    /* Or simply: these bits of the register at this offset of these spaces (a bit each), in reads of any width. Without
     * either the row says what no sequence does. */
    unsigned spaces, at;
    uint64_t mask;
};
extern const struct oracle_rule oracle_rules[];
extern const size_t oracle_rule_count;
/* true: everything about it is in the table. Counts the rows that were needed in used[]. */
bool oracle_explained(const struct oracle_diff *diff, unsigned *used);
/* The table in Markdown, as docs/oracle.md has it. */
void oracle_print_rules(FILE *f);

enum oracle_result { ORACLE_SAME, ORACLE_DIFFERS, ORACLE_BROKEN };
/* Runs it. DIFFERS: *ret_step is the access (from 0), and text (ORACLE_TEXT bytes) says what came out. */
enum oracle_result oracle_run(const struct oracle_case *run, unsigned *used, size_t *ret_step,
                              char *text);
/* Takes out what is not needed for the failure of that text; run->op must be the failing prefix and is changed. */
void oracle_shrink(struct oracle_case *run, const char *failure);

/* ---- text ---- */

/* A line such as "w1 ports+0x3 0x83", "r4 window+0x10" or "pin 3 1". */
void oracle_print_op(FILE *f, const struct oracle_target *target, const struct oracle_op *op);
/* Reads such lines until the end of the file; '#' begins a comment. Number of the bad line, or 0. */
int oracle_read_ops(FILE *f, const struct oracle_target *target, struct oracle_case *ret_run);

#endif
