#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# payload.sh [aarch64]: the payload tests (tests/payload) in the emulated host, whose KVM is no software: there they
# also check what software KVM gets wrong, such as the order of an interrupt and its end. They are the release tree's
# static programs, or the tree aarch64's in the Arm host.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

PRESET=release ARCH=amd64 HOST=() NAMES=(payload payload-machine)
[[ ${1:-} != aarch64 ]] || PRESET=aarch64 ARCH=arm64 HOST=(--arch aarch64) NAMES=(payload-machine)
PROGRAMS=${VMM_PAYLOAD:-$ROOT/build/$PRESET/tests/payload}
VMM=$(vmm_program "$ARCH")

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
FILES=("$PROGRAMS/machine-guest:machine-guest" "$VMM:vmm")
for name in "${NAMES[@]}"; do
    FILES+=("$PROGRAMS/test-$name-static:$name")
done
for f in "${FILES[@]}"; do
    [[ -e ${f%%:*} ]] || die "${f%%:*} is not built: cmake --build --preset $PRESET"
done
{
    echo "programs='${NAMES[*]}'"
    cat <<'SCRIPT'
export PAYLOAD_STRICT=1 VMM_PROGRAM=/vmm PAYLOAD_GUEST=/machine-guest
mkdir -p /tmp
for program in $programs; do
    echo "@$program"
    "/$program" || status=1
done
exit ${status:-0}
SCRIPT
} >"$WORK/script"
"$ROOT/tests/e2e/host.sh" ${HOST[@]+"${HOST[@]}"} --timeout 400 "$WORK/script" "${FILES[@]}"
