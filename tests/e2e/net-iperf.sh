#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Debian's iperf3 between a Debian guest and a host, through our network device on real tap interfaces: TCP and UDP, IPv4 and IPv6, 1 and 8
# streams, both directions, with all offloads and without each one, with several queues and an MTU of 9000; floods of echo
# requests; a file there and back; and every checksum is looked at (net-wire.c): in what the device captures, in the kernels' counts, and
# in what comes out of a wire without offloads. Native, without KVM and without privilege.
#
#   net-iperf.sh [--arch aarch64] [--only REGEX] [--long] [PROGRAM]
#       --arch: the guest, x86_64 if not said. --only: those of the devices below; all if not said. --long: 64 MiB in place of 8
#       each time, a file of 1 GiB. PROGRAM: the one to test, default build/release/vmm
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/net-lib.sh
. "$(dirname "$0")/net-lib.sh"

words=("$@")
arch=x86_64 suffix='' only='' file=64M tcp=8M udp=512K limit=90
while [[ ${1-} = --* ]]; do
    case $1 in
    --arch) arch=$2 && shift ;;
    --only) only=$2 && shift ;;
    --long) file=1G tcp=64M udp=16M limit=300 AWAIT=18000 ;;
    *) die "unknown option $1" ;;
    esac
    shift
done
[[ $arch != aarch64 ]] || suffix=-arm64
own=iperf
[[ $NATIVE != aarch64 ]] || own="iperf-arm64"
[[ -n ${IN_NETNS-} ]] || "$HERE/fetch.sh" "--iperf$suffix" "--$own"
net_begin "${1:-$ROOT/build/release/vmm}" "${words[@]}"

# Each device: its name; words for ours; for QEMU's; bits of VIRTIO 1.2, 5.1.3, that shall not be negotiated; whose checksums are never left
# to others.
none=csum=off,guest_csum=off,host_tso4=off,host_tso6=off,guest_tso4=off,guest_tso6=off,host_ecn=off,guest_ecn=off,host_ufo=off,guest_ufo=off
table="
all|||-|
none||$none,mrg_rxbuf=off|0 1 7 8 9 10 11 12 13 14 15|sent received
csum||csum=off|0|sent
guest_csum||guest_csum=off|1|received
host_tso4||host_tso4=off|11|
host_tso6||host_tso6=off|12|
guest_tso4||guest_tso4=off|7|
guest_tso6||guest_tso6=off|8|
host_ecn||host_ecn=off|13|
guest_ecn||guest_ecn=off|9|
host_ufo||host_ufo=off|14|
guest_ufo||guest_ufo=off|10|
mrg_rxbuf||mrg_rxbuf=off|15|
queues|,num_queues=4|,mq=on|-|
mtu|,mtu=9000|,host_mtu=9000|-|"
names=() ours=() theirs=() without=() strict=()
while IFS='|' read -r name our their bits who; do
    [[ $name =~ ^(${only:-.+})$ ]] || continue
    names+=("$name") ours+=("$our") theirs+=("$their") without+=("$bits") strict+=("$who")
done <<<"$table"

wire_begin "$arch"
out sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_ecn'
iperf=(nsenter -t "$outside" -n -- "$BED/$own/ld.so" --library-path "$BED/$own" "$BED/$own/iperf3")

guest_begin "$arch" "$HERE/guest-iperf.sh" "" "$BED/iperf$suffix:iperf" "$work/send-guest:bin/net-send"
qemu+=(-smp 2)
devices=()
for n in "${!names[@]}"; do
    devices+=(-- "virtio-net,tap=vt$n,mac=$(mac_of "$n"),capture=$work/$n.pcapng${ours[n]}" --socket "$work/net$n")
    queues=1
    [[ ${names[n]} != queues ]] || queues=2
    nic_of "$n" "$queues" "${theirs[n]#,}"
    mtu=1500
    [[ ${names[n]} != mtu ]] || mtu=9000
    outside_has "$n" $mtu
done
"$vmm" device "${devices[@]:1}" 2>"$work/vmm" &
device=$!
started+=("$device")
plugged "${!names[@]}"
nsenter -t "$outside" -n "$work/wire" watch o0 >"$work/watch" &
watcher=$!
started+=("$watcher")
await "a look at the wire" grep -q watching "$work/watch"

# judge KIND BYTES STREAMS: what iperf3 says in JSON. UDP may lose one packet in ten: the rate is then too high for this machine.
cat >"$work/judge.pl" <<'END'
use JSON::PP;
my ($kind, $bytes, $streams) = @ARGV;
local $/;
my $j = decode_json(<STDIN>);
my $end = $j->{end};
die "error: $j->{error}\n" if $j->{error};
die "no streams\n" unless @{$end->{streams} // []} == $streams;
if ($kind eq "tcp") {
    my ($sent, $came) = ($end->{sum_sent}{bytes}, $end->{sum_received}{bytes});
    die "$sent bytes were sent\n" if $sent < $bytes;
    # What was on its way when the count ended is in sockets' buffers: of 64 KiB each, which the kernel doubles.
    die "$came of $sent bytes came\n" if $came < $sent - $streams * 262144 || $came > $sent;
} else {
    my ($packets, $lost) = ($end->{sum}{packets}, $end->{sum}{lost_packets});
    die "$packets packets\n" unless $packets * 1400 >= $bytes / 2;
    die "lost: $lost of $packets packets\n" if $lost * 10 > $packets;
}
END

bytes_of() { numfmt --from=iec "$1"; }

# ask WORD...: one run of iperf3; not, if its server does not listen: it stops between two runs for a moment, and who was in its queue then is
# cut off.
ask() {
    timeout "$limit" "${iperf[@]}" -J "$@" >"$work/json" 2>&1 || true
    ! grep -qE 'unable to connect to server|the server is busy' "$work/json" || return 1
    ! grep -q '"connected":.*\[\]' "$work/json" || ! grep -q 'unable to receive control message: Connection reset' "$work/json"
}

# run DEVICE KIND FAMILY STREAMS [-R]
run() {
    local n=$1 kind=$2 family=$3 streams=$4 back=${5-} how rate
    local to=10.0.$n.2
    [[ $family = 4 ]] || to=fd05:0:0:$n::2
    for rate in 32 8 2; do
        how=(-n "$tcp" -w 64K)
        [[ $kind = tcp ]] || how=(-u -l 1400 -n "$udp" -b "$((rate * 1000 / streams))K")
        await "iperf3's server" ask -c "$to" -P "$streams" "${how[@]}" ${back:+"$back"}
        perl "$work/judge.pl" "$kind" "$(bytes_of "${!kind}")" "$streams" <"$work/json" 2>"$work/why" && return
        grep -q '^lost' "$work/why" || break
        echo "${names[n]}: UDP $family, $streams streams $back: $rate Mbit/s are too many here: $(cat "$work/why")"
    done
    cat "$work"/{json,watch}
    missing "${names[n]}: $kind, IPv$family, $streams streams $back: $(cat "$work/why")"
}

guest_start "$([[ $file = 64M ]] && echo 900 || echo 7000)"
guest 'echo 1 >/proc/sys/net/ipv4/tcp_ecn'
for n in "${!names[@]}"; do
    begun=$SECONDS
    guest "use $n"
    mtu=1500
    [[ ${names[n]} != mtu ]] || mtu=9000
    line "nic $n mtu $mtu" || missing "an MTU of $mtu"
    features=$(sed -n "s/^@nic $n .*features \([01]*\).*/\1/p" "$work/log")
    for bit in 0 1 7 8 9 10 11 12 13 14 15; do
        has=1
        [[ " ${without[n]} " != *" $bit "* ]] || has=0
        # ECN and UFO go with what they are segmentation of.
        [[ ${features:bit:1} = "$has" || $bit = 9 || $bit = 10 || $bit = 13 || $bit = 14 && $has = 1 ]] || missing "${names[n]}: feature $bit as $has: $features"
    done
    for kind in tcp udp; do
        for family in 4 6; do
            for streams in 1 8; do
                run "$n" $kind $family $streams
                run "$n" $kind $family $streams -R
            done
        done
    done
    echoes guest "10.0.$n.1" 2000 84
    echoes out "10.0.$n.2" 2000 84
    echoes guest "fd05:0:0:$n::1" 500 $mtu
    echoes out "10.0.$n.2" 500 $mtu
    echo "${names[n]}: $((SECONDS - begun)) s"
done

# A file there, and back by the other family.
guest "use 0"
head -c "$file" /dev/urandom >"$work/file"
out busybox nc -l -p 5001 <"$work/file" >/dev/null &
started+=("$!")
mkfifo "$work/silence"
exec 3<>"$work/silence" # nc ends when either side has nothing more to say
out busybox nc -l -p 5002 <&3 | sha256sum >"$work/sum" &
back=$!
await "listeners" out grep -q ':138A ' /proc/net/tcp /proc/net/tcp6
begun=$SECONDS
guest "file 0"
await "the file's end" test -s "$work/sum"
wait "$back"
sum=$(sha256sum <"$work/file" | cut -d' ' -f1)
line "file $sum" || missing "the file in the guest: $sum"
[[ $(cut -d' ' -f1 <"$work/sum") = "$sum" ]] || missing "the file that came back"
echo "a file of $file there and back: $((SECONDS - begun)) s"

guest wrong
line "wrong 0 0 0 0" || missing "no wrong checksum, as the guest's kernel counts them: TCP, UDP, ICMP, IPv6"
guest_end
kill "$watcher"
wait "$watcher" || { cat "$work/watch" && missing "right checksums on the wire"; }
cat "$work/watch"
for kind in ipv4 ipv6 tcp udp icmp icmpv6; do
    grep -q "^in: .* $kind [1-9]" "$work/watch" || missing "packets of $kind on the wire"
done
for n in "${!names[@]}"; do
    read -ra who <<<"${strict[n]}"
    "$work/wire" check "$work/$n.pcapng" "${who[@]}" >"$work/report" || { cat "$work/report" && missing "${names[n]}: right checksums in its capture"; }
    sed "s/^/${names[n]}, /" "$work/report"
    for way in in out; do
        grep -q "^$way: .* tcp [1-9].* udp [1-9]" "$work/report" || missing "${names[n]}: packets in its capture, $way"
        # Where all is offloaded it has to be seen.
        [[ ${names[n]} != all ]] || grep -q "^$way: .* partial [1-9]" "$work/report" || missing "checksums left to others, $way"
    done
done
kill "$device"
wait "$device" || missing "the back ends' end: $?"
[[ ! -s $work/vmm ]] || missing "silence of the devices"
echo "networks ($arch): every byte came, every checksum is right"
