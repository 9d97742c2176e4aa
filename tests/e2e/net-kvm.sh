#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Debian's iperf3 between a Debian guest under our own VMM and a network namespace beside it, in the emulated host: over vhost-net (vhost=on),
# TCP and UDP, IPv4 and IPv6, 1 and 8 streams, both directions, echo requests and a file there and back; and UDP that is segmented behind the
# ring (USO), on, off and on again, over vhost-net and by the device's own process. Every checksum is looked at, on a wire without
# offloads (net-wire.c) and in the guest's kernel. With QEMU's guest, without vhost-net: net-iperf.sh.
#
#   net-kvm.sh [--arch aarch64] [--new] [--long] [PROGRAM]
#       --arch: of host and guest, x86_64 if not said. --new: with aarch64, Linux 6.12 as the host's kernel: 6.1's taps have no USO. --long: 64 MiB
#       in place of 4 each time, a file of 256 MiB in place of 64, and iperf3 by the device's own process, too. PROGRAM: the one to test
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HERE=$ROOT/tests/e2e
arch=x86_64 suffix='' devices="vhost own" file=64M tcp=4M udp=512K limit=1500 new=''
while [[ ${1-} = --* ]]; do
    case $1 in
    --arch) arch=$2 && shift ;;
    --new) new=-new ;;
    --long) devices="vhost queues own" file=256M tcp=64M udp=4M limit=3000 ;;
    *) die "unknown option $1" ;;
    esac
    shift
done
cpus=2
case $arch in
# With two processors the emulated host is not steady (docs/testing.md), and this keeps them busy for long; several pairs of queues need them.
x86_64)
    [[ $devices = *queues* ]] || cpus=1
    host=trixie-cloud guest=trixie-cloud initramfs=$BED/host-net.cpio kernel=vmlinuz compiler=gcc
    ;;
aarch64)
    suffix=-arm64 guest=trixie-cloud-arm64 host=bookworm-cloud-arm64 kernel=vmlinuz compiler=aarch64-linux-gnu-gcc
    [[ -z $new ]] || host=trixie-cloud-arm64
    initramfs=$BED/host-net-aarch64$new.cpio
    ;;
*) die "--arch $arch: x86_64 or aarch64" ;;
esac
vmm=${1:-$(vmm_program "$(arch_of "$guest")")}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ $arch = x86_64 ]]; then
    "$HERE/fetch.sh" "$host" --qemu --iperf
else
    "$HERE/fetch.sh" "$host" "$guest" --iperf-arm64
fi
"$HERE/initramfs.sh" host "$host" "$initramfs" bridge veth
"$HERE/initramfs.sh" guest "$guest" "$BED/guest-$guest.cpio"
for program in wire send; do
    "$compiler" -O2 -static -s -o "$work/$program" "$HERE/net-$program.c"
done
mkdir -p "$work/guest/bin"
cp "$HERE/guest-iperf.sh" "$work/guest/run.sh"
cp "$work/send" "$work/guest/bin/net-send"
cp -rT "$BED/iperf$suffix" "$work/guest/iperf"
{ cat "$BED/guest-$guest.cpio" && cpio_of "$work/guest"; } >"$work/guest.cpio"
cat >"$work/row" <<ROW
DEVICES="$devices" FILE=$(numfmt --from=iec "$file") TCP=$(numfmt --from=iec "$tcp") UDP=$(numfmt --from=iec "$udp") DELAY=$((limit / 3))
CPUS=$cpus
ROW
files=("$work/row:row" "$work/wire:wire" "$work/send:send" "$KERNELS/$guest/$kernel:kernel" "$work/guest.cpio:guest.cpio")
for f in "$BED/iperf$suffix"/*; do
    files+=("$f:iperf/${f##*/}")
done
vmm_in_host "$vmm" "$work"
status=0
"$HERE/host.sh" --arch "$arch" ${new:+--new} --initramfs "$initramfs" --smp $cpus --memory 2500 --timeout "$limit" "$HERE/in-host-net.sh" \
    "${VMM_FILES[@]}" "${files[@]}" | tee "$work/log" || status=$?
((status == 0)) || exit "$status"
grep -q '^@passed' "$work/log" || die "the host did not say that it passed"
say "networks under KVM ($arch): every byte came, every checksum is right"
