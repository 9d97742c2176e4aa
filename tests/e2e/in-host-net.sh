# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in the emulated host (busybox sh) as its /run.sh: a guest under the VMM with devices on taps, on a wire to a network namespace,
# the world: net-kvm.sh says what is looked at. /row: DEVICES FILE TCP UDP DELAY CPUS. The guest's script is guest-iperf.sh.
# shellcheck source=/dev/null
. /row

fail() {
    echo "@failed $*"
    tail -n 30 /out | grep -av '^@did'
    kill -KILL "$(cat /pid)" 2>/dev/null
    exit 1
}

# await WHAT COMMAND...: within DELAY seconds.
await() {
    what=$1
    shift
    until "$@" >/dev/null 2>&1; do
        [ ! -e /status ] || fail "the VMM ended with $(cat /status), waiting for $what"
        ago=$((ago + 1))
        [ "$ago" -lt $((DELAY * 5)) ] || fail "time is up, waiting for $what"
        sleep 0.2
    done
    ago=0
}
ago=0

out() { nsenter -t "$outside" -n -- "$@"; }
line() { grep -aq "^@$1" /out; }
number=0
guest() {
    number=$((number + 1))
    echo "$*" >&3
    await "the guest's answer to: $*" line "did $number "
    line "did $number 0" || fail "no good end of: $*"
}
now() { cut -d. -f1 /proc/uptime; }

words_of() { # device
    case $1 in
    vhost) echo ,vhost=on ;;
    queues) echo ,vhost=on,num_queues=4 ;;
    esac
}

# ---- the wire: vt0, vt1 - br0 - h0, which leaves nothing to others, - o0 in the world ----

unshare -n sleep 100000 &
outside=$!
until ! [ "$(readlink "/proc/$outside/ns/net")" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
ip link set lo up
out ip link set lo up
# shellcheck disable=SC2016 # expanded there
out sh -c 'for f in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 >"$f"; done; echo 1 >/proc/sys/net/ipv4/tcp_ecn'
/wire pair h0 o0 "$outside" || fail "no wire"
{ brctl addbr br0 && brctl addif br0 h0; } || fail "no bridge"
ip link set h0 up
ip link set br0 up
/wire plain h0 || fail "h0 keeps its offloads"
out ip link set o0 up
n=0
for device in $DEVICES; do
    out ip addr add "10.0.$n.1/24" dev o0
    out ip addr add "fd05:0:0:$n::1/64" dev o0
    set -- "$@" --net "tap=vt$n,mac=52:54:00:12:34:0$n$(words_of "$device")"
    n=$((n + 1))
done

# ---- the guest ----

echo 1 >/proc/sys/kernel/printk
mkfifo /in
exec 3<>/in
: >/out
tty=ttyS0
[ "$(uname -m)" != aarch64 ] || tty=ttyAMA0
{
    # shellcheck disable=SC2016 # expanded by the inner shell
    sh -c 'echo $$ >/pid; exec "$@"' sh /vmm run -m 512M -c "$CPUS" --serial tty --console off "$@" \
        -p "console=$tty quiet panic=-1 net.tty=$tty" -i /guest.cpio /kernel <&3 >>/out 2>&1
    echo $? >/status
} &
await "the guest" line ready
echo "@began after $(now) s"
n=0
for device in $DEVICES; do
    ip link set "vt$n" up
    brctl addif br0 "vt$n" || fail "vt$n does not go to the bridge"
    n=$((n + 1))
done
guest 'echo 1 >/proc/sys/net/ipv4/tcp_ecn'
guest 'net-send sink &'
out /send sink >/sink &
nsenter -t "$outside" -n -- /wire watch o0 >/watch & # the process itself, which is told when to end
watcher=$!
await "a look at the wire" grep -q watching /watch

# A thread of the kernel's for each pair of queues that it serves, and none for the others.
expected=0
for device in $DEVICES; do
    case $device in
    vhost) expected=$((expected + 1)) ;;
    queues) expected=$((expected + 2)) ;;
    esac
done
served=$(cat /proc/[0-9]*/task/*/comm 2>/dev/null | grep -c '^vhost-')
[ "$served" = "$expected" ] || fail "vhost-net has $served threads, not $expected"

# ---- iperf3 ----

# judge KIND BYTES STREAMS: what iperf3 says in JSON; as net-iperf.sh judges it.
judge() {
    awk -v kind="$1" -v least="$2" -v streams="$3" '
        /"error":/ { print; bad = 1 }
        /"end":/ { end = 1 }
        end && kind == "tcp" && /"receiver":[\t ]*[{]/ { n++ }
        end && kind == "udp" && /"udp":[\t ]*[{]/ { n++ }
        end && /"sum(_sent|_received)?":/ { split($0, w, "\""); section = w[2] }
        end && section && /"(bytes|packets|lost_packets)":/ { split($0, w, "\""); v[section, w[2]] = $2 + 0 }
        END {
            if (bad) exit 1
            if (kind == "tcp") {
                sent = v["sum_sent", "bytes"]; came = v["sum_received", "bytes"]
                if (sent < least) { print sent " bytes were sent"; exit 1 }
                # What was on its way when the count ended is in sockets'"'"' buffers: of 64 KiB each, which the kernel doubles.
                if (came < sent - streams * 262144 || came > sent) { print came " of " sent " bytes came"; exit 1 }
            } else {
                packets = v["sum", "packets"]; lost = v["sum", "lost_packets"]
                if (packets * 1400 < least / 2) { print packets " packets"; exit 1 }
                if (lost * 10 > packets) { print "lost: " lost " of " packets " packets"; exit 1 }
            }
            if (n != streams) { print n " streams"; exit 1 }
        }' /json >/why 2>&1
}

# ask WORD...: one run; not, if the server does not listen: it stops between two runs for a moment, and who was in its queue then is cut off.
ask() {
    out timeout 120 /iperf/ld.so --library-path /iperf /iperf/iperf3 -J "$@" >/json 2>&1
    ! grep -qE 'unable to connect to server|the server is busy' /json || return 1
    ! grep -q '"connected":.*\[\]' /json || ! grep -q 'unable to receive control message: Connection reset' /json
}

# run DEVICE KIND TO STREAMS [-R]
run() {
    kind=$2 streams=$4 back=$5
    for rate in 4000 1000 250; do
        if [ "$kind" = tcp ]; then
            bytes=$TCP
            await "iperf3's server" ask -c "$3" -P "$streams" -n "$TCP" -w 64K ${back:+"$back"}
        else
            bytes=$UDP
            await "iperf3's server" ask -c "$3" -P "$streams" -u -l 1400 -n "$UDP" -b "$((rate / streams))K" ${back:+"$back"}
        fi
        ! judge "$kind" "$bytes" "$streams" || return 0
        grep -q '^lost' /why || break
        echo "@note $1: UDP to $3, $streams streams $back: $rate kbit/s are too many here: $(cat /why)"
    done
    cat /json
    fail "$1: $kind to $3, $streams streams $back: $(cat /why)"
}

echoes() { # guest|out ADDRESS COUNT BYTES
    if [ "$1" = guest ]; then
        guest "net-send echo $2 $3 $4 df"
        said=$(grep -a '^@echo' /out | tail -n 1 | tr -d '\r')
    else
        said=$(out /send echo "$2" "$3" "$4" df)
    fi
    [ "$said" = "@echo $2 bytes $4 sent $3 back $3 other 0" ] || fail "$3 echoes of $4 bytes, $1 to $2: $said"
}

iperf() { # DEVICE NUMBER
    for to in "10.0.$2.2" "fd05:0:0:$2::2"; do
        for kind in tcp udp; do
            for streams in 1 8; do
                run "$1" "$kind" "$to" "$streams" ''
                run "$1" "$kind" "$to" "$streams" -R
            done
        done
    done
    echoes guest "10.0.$2.1" 500 84
    echoes out "10.0.$2.2" 500 84
    echoes guest "fd05:0:0:$2::1" 200 1500
    echoes out "10.0.$2.2" 200 1500
}

# ---- segmentation of UDP by who is behind the ring ----

BURSTS=50
# bursts DEVICE NUMBER FROM LARGE: FROM is guest or out, LARGE whether the tap interface sees them whole.
bursts() {
    /wire sizes "vt$2" >/sizes &
    sizes=$!
    await "a look at vt$2" grep -q watching /sizes
    for family in 4 6; do
        end=1
        [ "$3" = guest ] || end=2
        to=10.0.$2.$end
        [ $family = 4 ] || to=fd05:0:0:$2::$end
        if [ "$3" = guest ]; then
            guest "net-send bursts $to $BURSTS 45300 1400"
            said=$(grep -a '^@bursts' /out | tail -n 1 | tr -d '\r')
        else
            said=$(out /send bursts "$to" $BURSTS 45300 1400)
        fi
        [ "$said" = "@bursts $to bytes 45300 segment 1400 sent $BURSTS back $BURSTS" ] || fail "$1: bursts of UDP from $3: $said"
    done
    kill $sizes
    wait $sizes || fail "the look at vt$2"
    way=in
    [ "$3" = guest ] || way=out
    saw=$(sed -n "s/.*$way: [^;]* udp \([0-9]*\);.*/\1/p" /sizes)
    expected=0
    [ "$4" = 0 ] || expected=$((2 * BURSTS))
    # All came, as their receiver says; the look at the interface may miss one.
    { [ "$saw" -le "$expected" ] && [ "$saw" -ge $((expected * 9 / 10)) ]; } ||
        fail "$1: of $((2 * BURSTS)) bursts from $3 vt$2 saw $saw whole, not $expected: $(cat /sizes)"
    echo "@uso $1: of $((2 * BURSTS)) bursts from $3 the tap saw $saw whole"
}

# A tap of Linux 6.2 and later has it.
uname -r | awk -F. '{ exit !($1 > 6 || $1 == 6 && $2 >= 2) }' && has=1 || has=0
uso() { # DEVICE NUMBER
    features=$(sed -n "s/^@nic $2 .*features \([01]*\).*/\1/p" /out | tail -n 1 | cut -c55-57)
    [ "$features" = "$has$has$has" ] || fail "$1: features 54 to 56 are $features on Linux $(uname -r)"
    [ "$has" = 1 ] || { echo "@skipped USO of $1: a tap of Linux $(uname -r) has none, Linux 6.2 is the first" && return; }
    # Linux's driver has what it sends switched off at first.
    for state in on off on; do
        # shellcheck disable=SC2016 # the guest's
        guest 'net-send feature "$dev" tx-udp-segmentation '"$state"' && net-send feature "$dev" rx-gro-hw '"$state"
        large=0
        [ $state = off ] || large=1
        bursts "$1, $state" "$2" guest $large
        bursts "$1, $state" "$2" out $large
    done
}

# ---- a file there, and back by the other family ----

file() {
    head -c "$FILE" /dev/urandom >/file
    out nc -l -p 5001 </file >/dev/null &
    mkfifo /silence
    exec 4<>/silence # nc ends when either side has nothing more to say
    out nc -l -p 5002 <&4 | sha256sum >/sum &
    await "listeners" out grep -q ':138A ' /proc/net/tcp /proc/net/tcp6
    guest "file $1"
    await "the file's end" test -s /sum
    sum=$(sha256sum </file | cut -d' ' -f1)
    line "file $sum" || fail "the file in the guest is another"
    [ "$(cut -d' ' -f1 </sum)" = "$sum" ] || fail "the file that came back is another"
    rm /file /silence /sum
}

n=0
for device in $DEVICES; do
    begun=$(now)
    guest "use $n"
    line "nic $n mtu 1500" || fail "$device: no MTU of 1500"
    iperf "$device" $n
    echo "@took $device, iperf3: $(($(now) - begun)) s"
    begun=$(now)
    uso "$device" $n
    echo "@took $device, USO: $(($(now) - begun)) s"
    begun=$(now)
    file $n
    echo "@took $device, a file of $FILE bytes there and back: $(($(now) - begun)) s"
    n=$((n + 1))
done

guest wrong
line "wrong 0 0 0 0" || fail "wrong checksums, as the guest's kernel counts them: $(grep -a '^@wrong' /out)"
! grep -a '^@sink' /out /sink || fail "wrong packets"
kill $watcher
wait $watcher || { cat /watch && fail "wrong checksums on the wire"; }
cat /watch
for kind in ipv4 ipv6 tcp udp icmp icmpv6; do
    grep -q "^in: .* $kind [1-9]" /watch || fail "no packets of $kind on the wire"
done
echo end >&3
until [ -e /status ]; do
    ago=$((ago + 1))
    [ $ago -lt $((DELAY * 5)) ] || fail "the VMM does not end"
    sleep 0.2
done
[ "$(cat /status)" = 0 ] || fail "the VMM left with $(cat /status)"
line "exit 0" || fail "the guest's end"
! grep -a "refused the system call" /out || fail "a filter lacks a row"
! grep -a '^warning' /out || fail "warnings"
echo "@passed after $(now) s"
