#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# cli.sh [cli|jails|hostile] [aarch64] [--filter SUITE/TEST]: the tests that run the program as a user would, with machines of a few instructions (tests/cli), and
# those of the processes that it starts, seen from outside and turned on it (tests/contract: jails, hostile), in the emulated host.
# On x86_64 they run on the software KVM of any machine too; for AArch64 this is the only place.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

ARCH=amd64 HOST=x86_64 FILTER='*' NAMES='cli jails hostile'
[[ $NATIVE != aarch64 ]] || set -- aarch64 "$@"
while (($#)); do
    case $1 in
    cli | jails | hostile) NAMES=$1 ;;
    aarch64) ARCH=arm64 HOST=aarch64 ;;
    --filter) FILTER=$2 && shift ;;
    *) die "unknown word $1" ;;
    esac
    shift
done
TREE=$ROOT/build/$(preset_of $ARCH)

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
FILES=("$(vmm_program "$ARCH"):vmm" "$TREE/tests/contract/vmm-hostile:vmm-hostile" "$TREE/tests/cli/test-cli-static:test-cli")
for name in jails hostile; do
    FILES+=("$TREE/tests/contract/test-$name-static:test-$name")
done
for f in "${FILES[@]}"; do
    [[ -e ${f%%:*} ]] || die "${f%%:*} is not built: cmake --build --preset $(preset_of $ARCH)"
done
{
    echo "FILTER='$FILTER' NAMES='$NAMES'"
    cat <<'SCRIPT'
# What takes a second there takes many here.
export VMM_TEST_PATIENCE=8
mkdir -p /tmp
chmod 1777 /tmp
ip link set lo up 2>/dev/null
for name in $NAMES; do
    program=/vmm
    [ "$name" != hostile ] || program=/vmm-hostile
    echo "@$name"
    VMM_PROGRAM=$program "/test-$name" --verbose "--filter=$FILTER" || status=1
done
exit ${status:-0}
SCRIPT
} >"$WORK/script"
"$ROOT/tests/e2e/host.sh" --arch "$HOST" --timeout 1500 "$WORK/script" "${FILES[@]}"
