/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * UART 16550A (National Semiconductor, PC16550D data sheet, June 1995; its sections are cited by name).
 *
 * The line has no speed: a byte is sent when it is written, and received when the guest has room. So the transmitter is always empty, unless the
 * guest switched loop-back on, and THRE (transmitter holding register empty) is an interrupt that comes at once. What the outside does not take is
 * dropped there and counted: a reader that does not read never blocks the guest.
 *
 * Interrupts, by priority (Interrupt Identification Register): receiver line status, received data available, character time-out, transmitter holding register empty, modem
 * status.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/devices/classes.h>

#include "uart.h"

extern const struct vdev_class serial_class;

/* Registers by offset; the first two are the divisor while LCR_DLAB is set (Registers, table II). */
enum {
    REG_DATA = 0, /* RBR when read, THR when written */
    REG_IER = 1,
    REG_IIR = 2, /* FCR when written */
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7,
    REGISTERS = 8,
};
enum {
    FIFO_BYTES = 16,

    IER_DATA = 1 << 0,
    IER_THRE = 1 << 1,
    IER_LINE = 1 << 2,
    IER_MODEM = 1 << 3,
    IER_MASK = 0x0f,

    IIR_NONE = 0x01,
    IIR_MODEM = 0x00,
    IIR_THRE = 0x02,
    IIR_DATA = 0x04,
    IIR_LINE = 0x06,
    IIR_TIMEOUT = 0x0c,
    IIR_FIFOS = 0xc0,

    FCR_ENABLE = 1 << 0,
    FCR_CLEAR_RX = 1 << 1,
    FCR_CLEAR_TX = 1 << 2,
    FCR_KEPT = 0xc9, /* enable, DMA mode, trigger level */

    LCR_DLAB = 1 << 7,

    MCR_DTR = 1 << 0,
    MCR_RTS = 1 << 1,
    MCR_OUT1 = 1 << 2,
    MCR_OUT2 = 1 << 3, /* on a PC: lets the interrupt out */
    MCR_LOOP = 1 << 4,
    MCR_MASK = 0x1f,

    LSR_DATA = 1 << 0,
    LSR_OVERRUN = 1 << 1,
    LSR_ERRORS = 0x1e,
    LSR_THRE = 1 << 5,
    LSR_EMPTY = 1 << 6,
    LSR_FIFO_ERROR = 1 << 7,

    MSR_DCTS = 1 << 0,
    MSR_DDSR = 1 << 1,
    MSR_TERI = 1 << 2,
    MSR_DDCD = 1 << 3,
    MSR_CTS = 1 << 4,
    MSR_DSR = 1 << 5,
    MSR_RI = 1 << 6,
    MSR_DCD = 1 << 7,
    MSR_CONNECTED = MSR_CTS | MSR_DSR | MSR_DCD,
};

struct serial_config {
    struct vdev_common common;
    struct vchar_config chr;
};

struct serial_state {
    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr, dll, dlm;
    bool thre; /* the THRE interrupt is pending (cleared by reading IIR or writing THR) */
    uint32_t rx_count;
    uint8_t rx[FIFO_BYTES];
};

struct serial {
    struct vdev dev;
    struct vdev_region region;
    struct vdev_bus *pio;
    struct vdev_irq *irq;
    bool line; /* what irq was last set to */
    bool burst; /* THR was written, and LSR not read since */
    struct vdev_uart uart;
    struct serial_state s;
    struct {
        uint64_t tx, rx, overruns;
    } count;
};

static bool fifos_on(const struct serial *u)
{
    return u->s.fcr & FCR_ENABLE;
}

static uint32_t rx_room(const struct serial *u)
{
    return (fifos_on(u) ? FIFO_BYTES : 1) - u->s.rx_count;
}

/* FIFO Control Register: how many bytes make "received data available" with FIFOs. */
static uint32_t trigger(const struct serial *u)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };

    return fifos_on(u) ? levels[u->s.fcr >> 6] : 1;
}

/* The interrupt with the highest priority, as IIR shows it. Below the trigger level the character time-out stands in: with no line speed the time
 * is always over. */
static uint8_t pending(const struct serial *u)
{
    const struct serial_state *s = &u->s;

    if (s->ier & IER_LINE && s->lsr & LSR_ERRORS)
        return IIR_LINE;
    if (s->ier & IER_DATA && s->rx_count)
        return s->rx_count >= trigger(u) ? IIR_DATA : IIR_TIMEOUT;
    if (s->ier & IER_THRE && s->thre)
        return IIR_THRE;
    if (s->ier & IER_MODEM && s->msr & (MSR_DCTS | MSR_DDSR | MSR_TERI | MSR_DDCD))
        return IIR_MODEM;
    return IIR_NONE;
}

/* In loop-back the modem outputs are disconnected, OUT2 among them; as in 8250-compatible chips of PCs interrupts go on. */
static int update_irq(struct serial *u)
{
    bool line = u->s.mcr & (MCR_OUT2 | MCR_LOOP) && pending(u) != IIR_NONE;

    /* Most accesses change nothing, and the other end of the line takes a lock. */
    if (line != u->line)
        vdev_irq_set(u->irq, line);
    u->line = line;
    return 0;
}

/* The registers were exchanged: the line says so anew, and there may be room for input. */
static int restart(struct serial *u)
{
    u->line = u->burst = false;
    vdev_irq_set(u->irq, false);
    vdev_uart_ready(&u->uart);
    return update_irq(u);
}

static void receive(struct serial *u, uint8_t byte)
{
    if (!rx_room(u)) {
        u->s.lsr |= LSR_OVERRUN;
        vm_count(&u->count.overruns, 1);
        if (!fifos_on(u))
            u->s.rx[0] = byte; /* Line Status Register, OE: the new byte destroys the old one */
        return;
    }
    u->s.rx[u->s.rx_count++] = byte;
    u->s.lsr |= LSR_DATA;
    vm_count(&u->count.rx, 1);
}

/* A write to THR ends the THRE interrupt, which comes again when the byte is gone (Interrupt Identification Register, table IV): an
 * edge for guests that look at LSR and never at IIR. The next bytes of a burst add nothing to an interrupt that is pending. */
static void transmit(struct serial *u, uint8_t byte)
{
    if (!u->burst && u->line) {
        u->s.thre = false;
        update_irq(u);
    }
    u->burst = true;
    u->s.thre = true; /* the holding register is empty again at once */
    if (u->s.mcr & MCR_LOOP) {
        receive(u, byte);
        return;
    }
    vm_count(&u->count.tx, 1);
    vdev_uart_send(&u->uart, byte);
}

static uint8_t read_data(struct serial *u)
{
    uint8_t byte = u->s.rx[0];

    if (!u->s.rx_count)
        return byte; /* the register keeps what it last held */
    u->s.rx_count--;
    if (u->s.rx_count)
        memmove(u->s.rx, u->s.rx + 1, u->s.rx_count);
    else
        u->s.lsr &= (uint8_t)~LSR_DATA;
    /* A guest reads until nothing is left: only then is it worth waking who has more. */
    if (!u->s.rx_count)
        vdev_uart_ready(&u->uart);
    return byte;
}

/* Modem Control Register, bit 4: in loop-back the four outputs drive the four inputs. */
static uint8_t modem_inputs(uint8_t mcr)
{
    uint8_t msr = 0;

    if (!(mcr & MCR_LOOP))
        return MSR_CONNECTED;
    msr |= mcr & MCR_RTS ? MSR_CTS : 0;
    msr |= mcr & MCR_DTR ? MSR_DSR : 0;
    msr |= mcr & MCR_OUT1 ? MSR_RI : 0;
    msr |= mcr & MCR_OUT2 ? MSR_DCD : 0;
    return msr;
}

static void update_modem(struct serial *u)
{
    uint8_t before = u->s.msr & 0xf0, now = modem_inputs(u->s.mcr), changed = before ^ now;

    u->s.msr = (uint8_t)((u->s.msr & 0x0f) | now);
    u->s.msr |= changed & MSR_CTS ? MSR_DCTS : 0;
    u->s.msr |= changed & MSR_DSR ? MSR_DDSR : 0;
    u->s.msr |= (before & ~now) & MSR_RI ? MSR_TERI : 0; /* trailing edge only */
    u->s.msr |= changed & MSR_DCD ? MSR_DDCD : 0;
}

static uint8_t take_iir(struct serial *u)
{
    uint8_t iir = pending(u);

    if (iir == IIR_THRE)
        u->s.thre = false;
    return (uint8_t)(iir | (fifos_on(u) ? IIR_FIFOS : 0));
}

static uint8_t take_lsr(struct serial *u)
{
    uint8_t lsr = (uint8_t)(u->s.lsr | LSR_THRE | LSR_EMPTY);

    u->burst = false;
    u->s.lsr &= (uint8_t)~LSR_ERRORS; /* Line Status Register: a read clears them */
    return lsr;
}

static uint8_t take_msr(struct serial *u)
{
    uint8_t msr = u->s.msr;

    u->s.msr &= 0xf0;
    return msr;
}

static uint8_t read_register(struct serial *u, uint64_t offset)
{
    bool dlab = u->s.lcr & LCR_DLAB;

    switch (offset) {
    case REG_DATA: return dlab ? u->s.dll : read_data(u);
    case REG_IER: return dlab ? u->s.dlm : u->s.ier;
    case REG_IIR: return take_iir(u);
    case REG_LCR: return u->s.lcr;
    case REG_MCR: return u->s.mcr;
    case REG_LSR: return take_lsr(u);
    case REG_MSR: return take_msr(u);
    default: return u->s.scr;
    }
}

/* FIFO Control Register: switching the FIFOs on or off clears both. */
static void write_fcr(struct serial *u, uint8_t v)
{
    bool changed = (v ^ u->s.fcr) & FCR_ENABLE;

    if (changed || (v & FCR_ENABLE && v & FCR_CLEAR_RX)) {
        u->s.rx_count = 0;
        u->s.lsr &= (uint8_t)~LSR_DATA;
        vdev_uart_ready(&u->uart);
    }
    u->s.fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
}

static void write_ier(struct serial *u, uint8_t v)
{
    /* Enabling THRE while the transmitter is empty makes it pending: drivers of the 8250 family test for it. */
    if (v & IER_THRE && !(u->s.ier & IER_THRE))
        u->s.thre = true;
    u->s.ier = v & IER_MASK;
}

static void write_mcr(struct serial *u, uint8_t v)
{
    bool back_on_line = u->s.mcr & ~v & MCR_LOOP;

    u->s.mcr = v & MCR_MASK;
    update_modem(u);
    if (back_on_line)
        vdev_uart_ready(&u->uart);
}

static void write_register(struct serial *u, uint64_t offset, uint8_t v)
{
    bool dlab = u->s.lcr & LCR_DLAB;

    switch (offset) {
    case REG_DATA:
        if (dlab)
            u->s.dll = v;
        else
            transmit(u, v);
        break;
    case REG_IER:
        if (dlab)
            u->s.dlm = v;
        else
            write_ier(u, v);
        break;
    case REG_IIR: write_fcr(u, v); break;
    case REG_LCR:
        u->s.lcr = v;
        break; /* bit 6, break: acts on the line alone, loop-back does not see it */
    case REG_MCR: write_mcr(u, v); break;
    case REG_SCR: u->s.scr = v; break;
    default: break; /* LSR and MSR are read only here: a write to LSR is for factory testing */
    }
}

/* Ports are one byte wide; wider accesses are that many registers in turn, as the ISA bus made of them. */
static int serial_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct serial *u = self;

    for (unsigned i = 0; i < len; i++)
        data[i] = read_register(u, offset + i);
    return update_irq(u);
}

static int serial_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct serial *u = self;

    for (unsigned i = 0; i < len; i++)
        write_register(u, offset + i, data[i]);
    return update_irq(u);
}

static const struct vdev_region_ops region_ops = { .read = serial_read, .write = serial_write };

/* A guest in loop-back does not listen to the line. */
static bool hear(struct vdev *dev, uint8_t byte)
{
    struct serial *u = container_of(dev, struct serial, dev);
    bool room = rx_room(u) && !(u->s.mcr & MCR_LOOP);

    if (room)
        receive(u, byte);
    return room;
}

static void heard(struct vdev *dev)
{
    update_irq(container_of(dev, struct serial, dev));
}

static const struct vdev_uart_ops uart_ops = { .receive = hear, .received = heard };

static const struct serial_state power_on = {
    .msr = MSR_CONNECTED, .dll = 12, /* 9600 baud, as firmware leaves it */
};

/* Reset (table I of the data sheet). */
static int serial_reset(struct vdev *dev)
{
    struct serial *u = container_of(dev, struct serial, dev);

    u->s = power_on;
    return restart(u);
}

static int serial_resume(struct vdev *dev)
{
    return restart(container_of(dev, struct serial, dev));
}

static void serial_save(struct vdev *dev, void *ret_state)
{
    memcpy(ret_state, &container_of(dev, struct serial, dev)->s, sizeof(struct serial_state));
}

/* What this chip can be in: anything else was not saved by it. */
static bool possible(const struct serial_state *s)
{
    bool fifos = s->fcr & FCR_ENABLE;

    return s->rx_count <= (fifos ? FIFO_BYTES : 1U) && !(s->ier & ~IER_MASK) &&
           !(s->mcr & ~MCR_MASK) && !(s->fcr & ~(fifos ? FCR_KEPT : 0)) &&
           !(s->lsr & ~(LSR_DATA | LSR_OVERRUN)) && !(s->lsr & LSR_DATA) == !s->rx_count &&
           (s->msr & 0xf0) == modem_inputs(s->mcr);
}

static int serial_load(struct vdev *dev, const void *untrusted)
{
    struct serial *u = container_of(dev, struct serial, dev);
    const struct serial_state *s = untrusted;

    if (!possible(s))
        return vm_fail(
            -EINVAL,
            "%s: registers IER %#x, FCR %#x, MCR %#x, LSR %#x, MSR %#x with %u bytes cannot be",
            dev->id, s->ier, s->fcr, s->mcr, s->lsr, s->msr, s->rx_count);
    u->s = *s;
    return restart(u);
}

static void serial_destroy(struct vdev *dev)
{
    struct serial *u = container_of(dev, struct serial, dev);

    vdev_bus_del(u->pio, &u->region, NULL, NULL);
    vdev_uart_close(&u->uart);
    vdev_exit(dev);
    free(u);
}

static const struct vdev_ops ops = {
    .reset = serial_reset,
    .resume = serial_resume,
    .save = serial_save,
    .load = serial_load,
    .destroy = serial_destroy,
};

/* ACPI 6.5, 6.1.12: devices of one _HID have different _UIDs. COM1 to COM4 of a PC count from 0, as Linux's ttyS do. */
static uint32_t uid_of(uint64_t port)
{
    static const uint16_t ports[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    uint32_t i = 0;

    while (i < VM_ARRAY_SIZE(ports) && ports[i] != port)
        i++;
    return i;
}

static int serial_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    const struct serial_config *config = context->config;
    struct serial *u = calloc(1, sizeof(*u));
    int rc;

    if (!u)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_init(&u->dev, &serial_class, &ops, context);
    u->pio = context->pio;
    u->irq = context->irqs[0];
    u->s = power_on;
    u->dev.firmware = (struct vdev_firmware){
        .acpi_hid = "PNP0501",
        .uid = uid_of(context->resources[0].base),
        .compatible = "ns16550a",
        .resource = { { VDEV_RES_PIO, context->resources[0].base, REGISTERS },
                      { VDEV_RES_IRQ, u->irq ? u->irq->number : 0, 0 } },
    };
    u->region = (struct vdev_region){ .name = u->dev.id,
                                      .base = context->resources[0].base,
                                      .size = REGISTERS,
                                      .ops = &region_ops,
                                      .self = u,
                                      .lock = &u->dev.lock,
                                      .dev = &u->dev,
                                      .priority = 1 };
    rc = vdev_uart_open(&u->uart, &u->dev, &config->chr, &uart_ops);
    if (!rc)
        rc = vdev_bus_add(u->pio, &u->region);
    if (rc) {
        vdev_uart_close(&u->uart);
        vdev_exit(&u->dev);
        free(u);
        return rc;
    }
    *ret_dev = &u->dev;
    return 0;
}

static const struct vm_prop props[] = {
    VDEV_PROPS(struct serial_config),
    VCHAR_PROPS(struct serial_config, chr),
    { 0 },
};

#define FIELD(t, kind, member)                                                      \
    {                                                                               \
        .tag = (t), .type = (kind), .offset = offsetof(struct serial_state, member) \
    }
static const struct vm_state_field state_fields[] = {
    FIELD(1, VM_STATE_U8, ier),
    FIELD(2, VM_STATE_U8, fcr),
    FIELD(3, VM_STATE_U8, lcr),
    FIELD(4, VM_STATE_U8, mcr),
    FIELD(5, VM_STATE_U8, lsr),
    FIELD(6, VM_STATE_U8, msr),
    FIELD(7, VM_STATE_U8, scr),
    FIELD(8, VM_STATE_U8, dll),
    FIELD(9, VM_STATE_U8, dlm),
    FIELD(10, VM_STATE_BOOL, thre),
    { .tag = 11,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct serial_state, rx),
      .max = FIFO_BYTES,
      .count_offset = offsetof(struct serial_state, rx_count) },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "tx_bytes", offsetof(struct serial, count.tx), "bytes the guest sent" },
    { "rx_bytes", offsetof(struct serial, count.rx), "bytes the guest got" },
    { "overruns", offsetof(struct serial, count.overruns), "bytes lost in loop-back" },
    VDEV_UART_METRICS(struct serial, uart),
    { 0 },
};

const struct vdev_class serial_class = {
    .name = "serial",
    .summary = "serial port, UART 16550A",
    .props = props,
    .config_size = sizeof(struct serial_config),
    .kind = VDEV_PLATFORM,
    .backend = VDEV_BACKEND_CHAR,
    .placements = VDEV_THREAD,
    .internal = true,
    .state = state_fields,
    .state_size = sizeof(struct serial_state),
    .state_version = 1,
    .metrics = metrics,
    .create = serial_create,
};
