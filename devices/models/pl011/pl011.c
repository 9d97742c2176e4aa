/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * PrimeCell UART, r1p5 (ARM DDI 0183, PL011; its sections are cited by number where they have one, else by name).
 *
 * The line has no speed: a byte is sent when it is written, and received when the guest has room. So the transmit FIFO is
 * always empty, and two interrupts that depend on time are simple:
 *   transmit (UARTTXINTR)          each byte that was written has gone through the level: it is set again
 *   receive time-out (UARTRTINTR)  the 32 bit periods of silence are always over: it stands as long as there is something
 *                                  to read, and clearing it lasts for no time
 * The receive interrupt comes with the byte that reaches the level, and goes below it or when it is cleared.
 *
 * What the outside does not take is dropped there and counted: a reader that does not read never blocks the guest. What the
 * guest has no room for, or does not listen to, waits outside: only loop-back overruns.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices/classes.h>

#include "primecell.h"
#include "uart.h"

extern const struct vdev_class pl011_class;

/* Registers (3.2). */
enum {
    REG_DR = 0x00,
    REG_RSR = 0x04, /* ECR when written */
    REG_FR = 0x18,
    REG_ILPR = 0x20,
    REG_IBRD = 0x24,
    REG_FBRD = 0x28,
    REG_LCR_H = 0x2c,
    REG_CR = 0x30,
    REG_IFLS = 0x34,
    REG_IMSC = 0x38,
    REG_RIS = 0x3c,
    REG_MIS = 0x40,
    REG_ICR = 0x44,
    REG_DMACR = 0x48,
};
enum {
    FIFO_BYTES = 32,

    ERR_BREAK = 1 << 2, /* as in RSR; DR has them above the byte (3.3.1, 3.3.2) */
    ERR_OVERRUN = 1 << 3,
    ERR_SHIFT = 8,

    FR_CTS = 1 << 0,
    FR_DSR = 1 << 1,
    FR_DCD = 1 << 2,
    FR_RXFE = 1 << 4,
    FR_RXFF = 1 << 6,
    FR_TXFE = 1 << 7,
    FR_RI = 1 << 8,
    FR_CONNECTED = FR_CTS | FR_DSR | FR_DCD,

    LCR_BRK = 1 << 0,
    LCR_FEN = 1 << 4,

    CR_UARTEN = 1 << 0,
    CR_LBE = 1 << 7,
    CR_TXE = 1 << 8,
    CR_RXE = 1 << 9,
    CR_DTR = 1 << 10,
    CR_RTS = 1 << 11,
    CR_OUT1 = 1 << 12,
    CR_OUT2 = 1 << 13,
    CR_MASK = 0xff87,
    CR_LISTENS = CR_UARTEN | CR_RXE,

    FBRD_MASK = 0x3f,
    IFLS_MASK = 0x3f,
    IFLS_HALF = 0x12,
    DMACR_MASK = 0x07,

    INT_RI = 1 << 0, /* 3.3.10 to 3.3.13 */
    INT_CTS = 1 << 1,
    INT_DCD = 1 << 2,
    INT_DSR = 1 << 3,
    INT_RX = 1 << 4,
    INT_TX = 1 << 5,
    INT_RT = 1 << 6,
    INT_BREAK = 1 << 9,
    INT_OVERRUN = 1 << 10,
    INT_MASK = 0x7ff,
    /* What is remembered: the time-out is worked out; parity and framing errors do not happen. */
    INT_LATCHED = INT_RI | INT_CTS | INT_DCD | INT_DSR | INT_RX | INT_TX | INT_BREAK | INT_OVERRUN,
};
#define PART_ID 0x00341011U /* revision 3: r1p5, from which on FIFOs have 32 entries */

struct pl011_config {
    struct vdev_common common;
    struct vchar_config chr;
};

/* An entry of the receive FIFO. */
struct pl011_char {
    uint8_t byte, errors;
};

struct pl011_state {
    uint16_t ibrd, cr, imsc, ris;
    uint8_t rsr, ilpr, fbrd, lcr_h, ifls, dmacr;
    bool overrun; /* goes with the next character into the FIFO (Overrun bit) */
    uint32_t rx_count;
    struct pl011_char rx[FIFO_BYTES];
};

struct pl011 {
    struct vdev_primecell p;
    struct vdev_uart uart;
    struct pl011_state s;
    struct {
        uint64_t tx, rx, overruns;
    } count;
};

static struct pl011 *pl011_of(struct vdev *dev)
{
    return container_of(dev, struct pl011, p.dev);
}

static uint32_t depth(const struct pl011_state *s)
{
    return s->lcr_h & LCR_FEN ? FIFO_BYTES : 1;
}

/* How many make a receive interrupt (3.3.9); what is reserved counts as the highest. */
static uint32_t level(const struct pl011_state *s)
{
    static const uint8_t levels[] = { 4, 8, 16, 24, 28, 28, 28, 28 };

    return s->lcr_h & LCR_FEN ? levels[s->ifls >> 3 & 7] : 1;
}

static uint16_t raw(const struct pl011_state *s)
{
    return (uint16_t)(s->ris | (s->rx_count ? INT_RT : 0));
}

static void update_irq(struct pl011 *u)
{
    vdev_primecell_set_line(&u->p, raw(&u->s) & u->s.imsc);
}

/* ---- receiver ---- */

static bool listens(const struct pl011_state *s)
{
    return (s->cr & CR_LISTENS) == CR_LISTENS;
}

static void receive(struct pl011 *u, uint8_t byte, uint8_t errors)
{
    struct pl011_state *s = &u->s;

    if (s->rx_count >= depth(s)) {
        s->overrun = true;
        s->rsr |= ERR_OVERRUN;
        s->ris |= INT_OVERRUN;
        vm_count(&u->count.overruns, 1);
        return;
    }
    errors |= s->overrun ? ERR_OVERRUN : 0;
    s->overrun = false;
    s->rx[s->rx_count++] = (struct pl011_char){ byte, errors };
    if (s->rx_count == level(s))
        s->ris |= INT_RX;
    vm_count(&u->count.rx, 1);
}

static void empty(struct pl011 *u)
{
    u->s.rx_count = 0;
    u->s.ris &= (uint16_t)~INT_RX;
    vdev_uart_ready(&u->uart);
}

/* Reading an empty FIFO gives 0, and no status. */
static uint32_t read_data(struct pl011 *u)
{
    struct pl011_state *s = &u->s;
    struct pl011_char c = s->rx[0];

    if (!s->rx_count)
        return 0;
    s->rx_count--;
    memmove(s->rx, s->rx + 1, s->rx_count * sizeof(*s->rx));
    s->rsr = (uint8_t)((s->rsr & ERR_OVERRUN) | c.errors);
    if (s->rx_count < level(s))
        s->ris &= (uint16_t)~INT_RX;
    /* A guest reads until nothing is left: only then is it worth waking who has more. */
    if (!s->rx_count)
        vdev_uart_ready(&u->uart);
    return c.byte | (uint32_t)c.errors << ERR_SHIFT;
}

/* ---- transmitter ---- */

/* Whether transmitter and UART are enabled is not asked: a kernel's early console writes to what it takes for the
 * firmware's port, without a word to UARTCR. */
static void transmit(struct pl011 *u, uint8_t byte)
{
    u->s.ris |= INT_TX;
    if (!(u->s.cr & CR_LBE)) {
        vm_count(&u->count.tx, 1);
        vdev_uart_send(&u->uart, byte);
    } else if (listens(&u->s) && !(u->s.lcr_h & LCR_BRK)) {
        receive(u, byte, 0);
    }
}

/* 3.3.7, BRK; in loop-back the receiver sees it, as one character of zeros (3.3.1, BE). */
static void write_lcr_h(struct pl011 *u, uint8_t v)
{
    struct pl011_state *s = &u->s;
    uint8_t before = s->lcr_h;

    s->lcr_h = v;
    if ((before ^ v) & LCR_FEN)
        empty(u); /* from one register to a FIFO or back */
    if (v & ~before & LCR_BRK && s->cr & CR_LBE && listens(s)) {
        receive(u, 0, ERR_BREAK);
        s->ris |= INT_BREAK;
    }
}

/* ---- modem lines ---- */

/* 3.3.8, LBE: in loop-back the outputs drive the inputs. Else somebody is there. */
static uint16_t modem_inputs(uint16_t cr)
{
    uint16_t fr = 0;

    if (!(cr & CR_LBE))
        return FR_CONNECTED;
    fr |= cr & CR_RTS ? FR_CTS : 0;
    fr |= cr & CR_DTR ? FR_DSR : 0;
    fr |= cr & CR_OUT1 ? FR_DCD : 0;
    fr |= cr & CR_OUT2 ? FR_RI : 0;
    return fr;
}

static void write_cr(struct pl011 *u, uint16_t v)
{
    struct pl011_state *s = &u->s;
    uint16_t changed = modem_inputs(s->cr) ^ modem_inputs(v);

    s->cr = v & CR_MASK;
    s->ris |= changed & FR_CTS ? INT_CTS : 0;
    s->ris |= changed & FR_DSR ? INT_DSR : 0;
    s->ris |= changed & FR_DCD ? INT_DCD : 0;
    s->ris |= changed & FR_RI ? INT_RI : 0;
    vdev_uart_ready(&u->uart); /* the receiver may listen now */
}

/* ---- registers ---- */

/* 3.3.3; the transmit FIFO is always empty, and BUSY never set. */
static uint32_t flags(const struct pl011_state *s)
{
    uint32_t fr = modem_inputs(s->cr) | FR_TXFE;

    fr |= s->rx_count ? 0 : FR_RXFE;
    fr |= s->rx_count >= depth(s) ? FR_RXFF : 0;
    return fr;
}

static uint32_t read_register(struct pl011 *u, uint32_t offset)
{
    const struct pl011_state *s = &u->s;

    switch (offset) {
    case REG_DR: return read_data(u);
    case REG_RSR: return s->rsr;
    case REG_FR: return flags(s);
    case REG_ILPR: return s->ilpr;
    case REG_IBRD: return s->ibrd;
    case REG_FBRD: return s->fbrd;
    case REG_LCR_H: return s->lcr_h;
    case REG_CR: return s->cr;
    case REG_IFLS: return s->ifls;
    case REG_IMSC: return s->imsc;
    case REG_RIS: return raw(s);
    case REG_MIS: return raw(s) & s->imsc;
    case REG_DMACR: return s->dmacr;
    default: return 0; /* UARTICR is write only */
    }
}

static uint32_t pl011_read(struct vdev_primecell *p, uint32_t offset)
{
    struct pl011 *u = container_of(p, struct pl011, p);
    uint32_t v = read_register(u, offset);

    update_irq(u);
    return v;
}

static void pl011_write(struct vdev_primecell *p, uint32_t offset, uint32_t value)
{
    struct pl011 *u = container_of(p, struct pl011, p);
    struct pl011_state *s = &u->s;
    uint16_t v = value & UINT16_MAX;

    switch (offset) {
    case REG_DR: transmit(u, (uint8_t)(v & UINT8_MAX)); break;
    case REG_RSR: s->rsr = 0; break; /* 3.3.2: whatever is written */
    case REG_ILPR: s->ilpr = (uint8_t)(v & UINT8_MAX); break;
    case REG_IBRD: s->ibrd = v; break;
    case REG_FBRD: s->fbrd = v & FBRD_MASK; break;
    case REG_LCR_H: write_lcr_h(u, (uint8_t)(v & UINT8_MAX)); break;
    case REG_CR: write_cr(u, v); break;
    case REG_IFLS: s->ifls = v & IFLS_MASK; break;
    case REG_IMSC: s->imsc = v & INT_MASK; break;
    case REG_ICR: s->ris &= (uint16_t)~v; break;
    case REG_DMACR: s->dmacr = v & DMACR_MASK; break;
    default: break; /* UARTFR, UARTRIS and UARTMIS are read only */
    }
    update_irq(u);
}

static const struct vdev_primecell_type type = {
    .id = PART_ID,
    .compatible = "arm,pl011 arm,primecell",
    .node = "serial",
    .clocks = "uartclk apb_pclk",
    .read = pl011_read,
    .write = pl011_write,
};

static bool hear(struct vdev *dev, uint8_t byte)
{
    struct pl011 *u = pl011_of(dev);
    bool hears = listens(&u->s) && !(u->s.cr & CR_LBE) && u->s.rx_count < depth(&u->s);

    if (hears)
        receive(u, byte, 0);
    return hears;
}

static void heard(struct vdev *dev)
{
    update_irq(pl011_of(dev));
}

static const struct vdev_uart_ops uart_ops = { .receive = hear, .received = heard };

/* ---- life ---- */

static const struct pl011_state power_on = { .cr = CR_RXE | CR_TXE, .ifls = IFLS_HALF };

/* The registers were exchanged. */
static int restart(struct pl011 *u)
{
    vdev_primecell_renew_line(&u->p, raw(&u->s) & u->s.imsc);
    vdev_uart_ready(&u->uart);
    return 0;
}

static int pl011_reset(struct vdev *dev)
{
    pl011_of(dev)->s = power_on;
    return restart(pl011_of(dev));
}

static int pl011_resume(struct vdev *dev)
{
    return restart(pl011_of(dev));
}

static void pl011_save(struct vdev *dev, void *ret_state)
{
    memcpy(ret_state, &pl011_of(dev)->s, sizeof(struct pl011_state));
}

/* What this device can be in: anything else was not saved by it. */
static bool possible(const struct pl011_state *s)
{
    for (uint32_t i = 0; i < s->rx_count; i++)
        if (s->rx[i].errors & ~(ERR_BREAK | ERR_OVERRUN))
            return false;
    return s->rx_count <= depth(s) && !(s->cr & ~CR_MASK) && !(s->imsc & ~INT_MASK) &&
           !(s->ris & ~INT_LATCHED) && !(s->rsr & ~(ERR_BREAK | ERR_OVERRUN)) &&
           !(s->fbrd & ~FBRD_MASK) && !(s->ifls & ~IFLS_MASK) && !(s->dmacr & ~DMACR_MASK) &&
           (s->rx_count || !(s->ris & INT_RX));
}

static int pl011_load(struct vdev *dev, const void *untrusted)
{
    struct pl011 *u = pl011_of(dev);
    const struct pl011_state *s = untrusted;

    if (!possible(s))
        return vm_fail(-EINVAL,
                       "registers LCR_H %#x, CR %#x, IFLS %#x, IMSC %#x, RIS %#x, RSR %#x, FBRD "
                       "%#x, DMACR %#x with %u characters cannot be",
                       s->lcr_h, s->cr, s->ifls, s->imsc, s->ris, s->rsr, s->fbrd, s->dmacr,
                       s->rx_count);
    u->s = *s;
    return restart(u);
}

static void pl011_destroy(struct vdev *dev)
{
    struct pl011 *u = pl011_of(dev);

    vdev_uart_close(&u->uart);
    vdev_primecell_exit(&u->p);
    free(u);
}

static const struct vdev_ops ops = {
    .reset = pl011_reset,
    .resume = pl011_resume,
    .save = pl011_save,
    .load = pl011_load,
    .destroy = pl011_destroy,
};

static int pl011_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    const struct pl011_config *config = context->config;
    struct pl011 *u = calloc(1, sizeof(*u));
    int rc;

    if (!u)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_primecell_init(&u->p, &pl011_class, &ops, &type, context);
    u->s = power_on;
    rc = vdev_uart_open(&u->uart, &u->p.dev, &config->chr, &uart_ops);
    if (!rc)
        rc = vdev_primecell_start(&u->p);
    if (rc)
        pl011_destroy(&u->p.dev);
    else
        *ret_dev = &u->p.dev;
    return rc;
}

static const struct vm_prop props[] = {
    VDEV_PROPS(struct pl011_config),
    VCHAR_PROPS(struct pl011_config, chr),
    { 0 },
};

#define FIELD(t, kind, member)                                                     \
    {                                                                              \
        .tag = (t), .type = (kind), .offset = offsetof(struct pl011_state, member) \
    }
static const struct vm_state_field char_fields[] = {
    { .tag = 1, .type = VM_STATE_U8, .offset = offsetof(struct pl011_char, byte) },
    { .tag = 2, .type = VM_STATE_U8, .offset = offsetof(struct pl011_char, errors) },
    { 0 },
};
static const struct vm_state_field state_fields[] = {
    FIELD(1, VM_STATE_U16, ibrd),
    FIELD(2, VM_STATE_U16, cr),
    FIELD(3, VM_STATE_U16, imsc),
    FIELD(4, VM_STATE_U16, ris),
    FIELD(5, VM_STATE_U8, rsr),
    FIELD(6, VM_STATE_U8, ilpr),
    FIELD(7, VM_STATE_U8, fbrd),
    FIELD(8, VM_STATE_U8, lcr_h),
    FIELD(9, VM_STATE_U8, ifls),
    FIELD(10, VM_STATE_U8, dmacr),
    FIELD(11, VM_STATE_BOOL, overrun),
    { .tag = 12,
      .type = VM_STATE_LIST,
      .offset = offsetof(struct pl011_state, rx),
      .max = FIFO_BYTES,
      .count_offset = offsetof(struct pl011_state, rx_count),
      .element_size = sizeof(struct pl011_char),
      .fields = char_fields },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "tx_bytes", offsetof(struct pl011, count.tx), "bytes the guest sent" },
    { "rx_bytes", offsetof(struct pl011, count.rx), "bytes the guest got" },
    { "overruns", offsetof(struct pl011, count.overruns), "bytes lost in loop-back" },
    VDEV_UART_METRICS(struct pl011, uart),
    { 0 },
};

const struct vdev_class pl011_class = {
    .name = "pl011",
    .summary = "ARM PrimeCell UART",
    .props = props,
    .config_size = sizeof(struct pl011_config),
    .kind = VDEV_PLATFORM,
    .backend = VDEV_BACKEND_CHAR,
    .placements = VDEV_THREAD,
    .internal = true,
    .state = state_fields,
    .state_size = sizeof(struct pl011_state),
    .state_version = 1,
    .metrics = metrics,
    .create = pl011_create,
};
