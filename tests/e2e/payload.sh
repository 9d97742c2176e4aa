#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# payload.sh [machine|features] [aarch64 [gicv2]]: the payload tests (tests/payload) in the emulated host, whose KVM is no software:
# there they also check what software KVM gets wrong, such as the order of an interrupt and its end. "features" is the
# program test-payload, which tries KVM's features one by one, "machine" the one that runs under vmm; both without a word.
# They are the release tree's static programs, or the tree aarch64's in the Arm host, which is the only one on an Arm machine. There "features" runs on two hosts, an
# older and a new one; each test must pass on one of them at least and may be skipped on the other. gicv2: on one with a GICv2.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

ARCH=amd64 NAMES=(payload payload-machine) RUNS=('--arch x86_64') GICV2=''
[[ $NATIVE != aarch64 ]] || set -- aarch64 "$@"
while (($#)); do
    case $1 in
    machine) NAMES=(payload-machine) ;;
    features) NAMES=(payload) ;;
    aarch64) ARCH=arm64 RUNS=('--arch aarch64') ;;
    gicv2) RUNS=('--arch aarch64 --gic 2') GICV2=1 ;;
    *) die "unknown word $1" ;;
    esac
    shift
done
[[ $ARCH != arm64 || ${NAMES[*]} != payload ]] || RUNS=('--arch aarch64' '--arch aarch64 --new')
PRESET=$(preset_of $ARCH)
PROGRAMS=${VMM_PAYLOAD:-$ROOT/build/$PRESET/tests/payload}

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
FILES=()
[[ ${NAMES[*]} = payload ]] || FILES=("$PROGRAMS/machine-guest:machine-guest" "$(vmm_program "$ARCH"):vmm")
for name in "${NAMES[@]}"; do
    FILES+=("$PROGRAMS/test-$name-static:$name")
done
for f in "${FILES[@]}"; do
    [[ -e ${f%%:*} ]] || die "${f%%:*} is not built: cmake --build --preset $PRESET"
done
{
    echo "programs='${NAMES[*]}'"
    [[ -z $GICV2 ]] || echo "export PAYLOAD_GICV2=1"
    cat <<'SCRIPT'
export PAYLOAD_STRICT=1 VMM_PROGRAM=/vmm PAYLOAD_GUEST=/machine-guest
mkdir -p /tmp
for program in $programs; do
    echo "@$program"
    "/$program" --verbose || status=1
done
exit ${status:-0}
SCRIPT
} >"$WORK/script"

# What is skipped on every host is not tested at all.
for run in "${RUNS[@]}"; do
    read -ra options <<<"$run"
    "$ROOT/tests/e2e/host.sh" ${options[@]+"${options[@]}"} --timeout 400 "$WORK/script" "${FILES[@]}" | tee -a "$WORK/said"
done
comm -23 <(sed -n 's/^SKIPPED \([^ :]*\):.*/\1/p' "$WORK/said" | sort -u) \
    <(sed -n 's/^PASSED \([^ ]*\)$/\1/p' "$WORK/said" | sort -u) >"$WORK/never"
[[ ! -s $WORK/never ]] || die "skipped on every host: $(tr '\n' ' ' <"$WORK/never")"
