#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# matrix.sh [--full]: the guests to boot, one ROW of boot.sh a line.
# Without --full a choice in which each value of each axis and each word occurs at least once. With it the whole product of the
# axes, of the standard kernels too, and along it each set of words that fit together, so that each word meets each value of each
# axis. 8 processors take the emulated host half a minute, and on x86_64 it may die of their serial port (docs/testing.md): once
# per kernel even in the product; 64 some minutes: one Arm guest of the product. All of it is checked here.
# matrix.sh --arm [--full]: the same for AArch64.
set -euo pipefail

KERNELS=(bookworm-cloud trixie-cloud)
IMAGES=(vmlinux vmlinuz)
CPUS=(1 2)
MEMORY=(128 256 4096) # 4096 reaches across the PCI hole below 4 GiB
CONSOLES=(serial hvc0)
ROOTS=(ram disk)
ENDS=(poweroff reboot button)
EXTRAS=(vsock net "net,vsock,inkernel" balloon reporting serials ports) # further devices
WORDS=(segment1 mmio nopci vhost thread killed upgraded moved split kernelirq full "${EXTRAS[@]}")
HOST_WORDS=(kernelirq) ROWS=choice MANY=''

die() {
    echo "matrix.sh: $*" >&2
    exit 1
}

choice() {
    cat <<'ROWS'
bookworm-cloud:vmlinux:1:256:serial:disk:poweroff:mmio,upgraded,net
bookworm-cloud:vmlinuz:2:4096:hvc0:disk:reboot:segment1,killed,net
trixie-cloud:vmlinux:2:256:hvc0:ram:button:kernelirq,thread,vsock,balloon
trixie-cloud:vmlinuz:1:128:serial:disk:poweroff:nopci,split,full
trixie-cloud:vmlinux:8:4096:hvc0:disk:reboot:split
bookworm-cloud:vmlinuz:2:256:serial:ram:button:vsock,serials,ports
trixie-cloud:vmlinuz:2:256:serial:disk:poweroff:moved,net
bookworm-cloud:vmlinux:2:256:serial:disk:poweroff:vhost,net
bookworm-cloud:vmlinuz:1:256:serial:disk:poweroff:balloon
trixie-cloud:vmlinuz:1:256:hvc0:ram:poweroff:reporting
trixie-cloud:vmlinuz:2:256:serial:ram:poweroff:net
trixie-cloud:vmlinuz:2:256:hvc0:ram:reboot:net,vsock,inkernel
ROWS
}

# The power key needs a driver that only the standard kernels have.
choice_arm() {
    cat <<'ROWS'
bookworm-cloud-arm64:vmlinuz:1:256:serial:disk:poweroff:vhost,net
bookworm-cloud-arm64:vmlinuz.gz:1:256:serial:disk:poweroff:moved,net
trixie-cloud-arm64:vmlinuz.gz:2:4096:hvc0:disk:reboot:segment1,killed,net
trixie-cloud-arm64:zboot.zst:1:128:serial:ram:poweroff:nopci,split,full
bookworm-cloud-arm64:vmlinuz.zst:1:256:hvc0:ram:reboot:gicv2,thread,vsock,balloon
trixie-cloud-arm64:vmlinuz:8:4096:serial:disk:reboot:mmio,vsock
bookworm-standard-arm64:vmlinuz:2:256:serial:disk:button:split,nvhe
trixie-standard-arm64:zboot.gz:1:256:serial:disk:button:upgraded,net,max
bookworm-cloud-arm64:vmlinuz:1:256:serial:ram:poweroff:balloon,ports
trixie-cloud-arm64:vmlinuz:1:256:serial:ram:poweroff:reporting
trixie-cloud-arm64:vmlinuz:1:256:serial:ram:poweroff:net,serials,thread
bookworm-cloud-arm64:vmlinuz:2:256:hvc0:ram:reboot:net,vsock,inkernel
ROWS
}

arm() {
    KERNELS=({bookworm,trixie}-{cloud,standard}-arm64)
    IMAGES=(vmlinuz vmlinuz.gz vmlinuz.zst zboot.gz zboot.zst)
    WORDS=(segment1 mmio nopci vhost thread killed upgraded moved split gicv2 max nvhe full "${EXTRAS[@]}")
    HOST_WORDS=(gicv2 max nvhe)
    ROWS=choice_arm
    MANY=trixie-cloud-arm64:vmlinuz:64:1024:serial:ram:poweroff
}

# Sets of words, each behind a colon: one place of the disks, one way to serve them, one further device, and one kind of interrupt
# controller or host at most.
word_sets() {
    local place who split extra host full set
    for place in '' segment1 mmio nopci vhost; do
        for who in '' thread killed upgraded moved; do
            for split in '' split; do
                for extra in '' "${EXTRAS[@]}"; do
                    [[ $extra != ports || $who != killed ]] || continue # its client would be cut off
                    for host in '' "${HOST_WORDS[@]}"; do
                        for full in '' full; do
                            set=$(printf ',%s' ${place:+"$place"} ${who:+"$who"} ${split:+"$split"} ${extra:+"$extra"} \
                                ${host:+"$host"} ${full:+"$full"})
                            echo "${set/#,/:}"
                        done
                    done
                done
            done
        done
    done
}

product() {
    local kernel image cpus memory console root end sets n=1 words
    mapfile -t sets < <(word_sets)
    for kernel in "${KERNELS[@]}"; do
        for image in "${IMAGES[@]}"; do
            for cpus in "${CPUS[@]}"; do
                for memory in "${MEMORY[@]}"; do
                    for console in "${CONSOLES[@]}"; do
                        for root in "${ROOTS[@]}"; do
                            for end in "${ENDS[@]}"; do
                                # Drawn (ISO C's example of rand()), always the same: the axes have periods that steps would meet.
                                n=$(((n * 1103515245 + 12345) & 0x7fffffff))
                                words=${sets[(n >> 16) % ${#sets[@]}]}
                                ((n >> 13 & 7)) || words='' # of the sets one in hundreds
                                [[ $end != button || $kernel != *-cloud-arm64 ]] || continue
                                echo "$kernel:$image:$cpus:$memory:$console:$root:$end${words%:}"
                            done
                        done
                    done
                done
            done
        done
        echo "$kernel:vmlinuz:8:256:serial:disk:poweroff"
    done
    printf '%s' "${MANY:+$MANY$'\n'}"
}

# has_all ROWS: no row twice, and each value and each word in one of them.
has_all() {
    local rows=$1 value
    [[ -z $(sort <<<"$rows" | uniq -d) ]] || die "a row is there twice: $(sort <<<"$rows" | uniq -d)"
    for value in "${KERNELS[@]}" "${IMAGES[@]}" "${CPUS[@]}" 8 "${MEMORY[@]}" "${CONSOLES[@]}" "${ROOTS[@]}" \
        "${ENDS[@]}" "${WORDS[@]}"; do
        grep -qE "(^|[:,])$value([:,]|$)" <<<"$rows" || die "no row has $value"
    done
}

# has_pairs ROWS: each word, and none, meets each value.
has_pairs() {
    local rows=$1 word value meeting
    for word in "${WORDS[@]}" ''; do
        meeting=$(grep -E "^([^:]*:){7}(.*,)?$word(,|$)" <<<"$rows" || true)
        [[ -n $word ]] || meeting=$(grep -E '^([^:]*:){6}[^:]*$' <<<"$rows")
        for value in "${KERNELS[@]}" "${IMAGES[@]}" "${CPUS[@]}" "${MEMORY[@]}" "${CONSOLES[@]}" "${ROOTS[@]}" \
            "${ENDS[@]}"; do
            grep -qE "(^|:)$value(:|$)" <<<"$meeting" || die "no row has both $value and ${word:-no word}"
        done
    done
}

KINDS=({bookworm,trixie}-standard)
if [[ ${1-} = --arm ]]; then
    shift
    arm
    KINDS=()
fi
case ${1-} in
'')
    rows=$($ROWS)
    ;;
--full)
    KERNELS+=("${KINDS[@]}")
    rows=$(product)
    has_pairs "$rows"
    [[ -z $MANY ]] || grep -qE ':64:' <<<"$rows" || die "no row has 64 processors"
    ;;
*) echo "usage: matrix.sh [--arm] [--full]" >&2 && exit 2 ;;
esac
has_all "$rows"
echo "$rows"
