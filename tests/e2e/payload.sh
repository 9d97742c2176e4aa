#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# payload.sh: the payload tests (tests/payload) in the emulated host, whose KVM is no software: there they also
# check what software KVM gets wrong, such as the order of an interrupt and its end. They are the release tree's static
# programs.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

PROGRAMS=${VMM_PAYLOAD:-$ROOT/build/release/tests/payload}
VMM=$(vmm_program amd64)
for f in test-payload-static test-payload-machine-static machine-guest; do
    [[ -e $PROGRAMS/$f ]] || die "$PROGRAMS/$f is not built: cmake --build --preset release"
done

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cat >"$WORK/script" <<'SCRIPT'
export PAYLOAD_STRICT=1 VMM_PROGRAM=/vmm PAYLOAD_GUEST=/machine-guest
mkdir -p /tmp
for program in /payload /payload-machine; do
    echo "@$program"
    $program || status=1
done
exit ${status:-0}
SCRIPT
"$ROOT/tests/e2e/host.sh" --timeout 400 "$WORK/script" "$PROGRAMS/test-payload-static:payload" \
    "$PROGRAMS/test-payload-machine-static:payload-machine" "$PROGRAMS/machine-guest:machine-guest" "$VMM:vmm"
