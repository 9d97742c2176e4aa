#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# host-test.sh [aarch64]: the emulated host itself, of this machine's architecture or an Arm host. It has KVM, a script's
# status comes back, a failed script is not tried again, a host that dies is, twice, and is then told from a failure.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# expect STATUS RUNS: the host runs $WORK/script RUNS times and leaves with STATUS.
expect() {
    local status=0 runs
    "$ROOT/tests/e2e/host.sh" ${HOST[@]+"${HOST[@]}"} --timeout 60 "$WORK/script" "$WORK/file:some/where" >"$WORK/log" 2>&1 || status=$?
    runs=$(grep -c '^@run' "$WORK/log" || true)
    [[ $status = "$1" && $runs = "$2" ]] || {
        cat "$WORK/log"
        die "status $status after $runs runs instead of $1 after $2"
    }
}

HOST=(--arch "${1:-$NATIVE}") HAS='grep -qw svm /proc/cpuinfo'
# What has EL2 starts all its processors there.
[[ ${HOST[1]} != aarch64 ]] || HAS='dmesg | grep -q "CPU: All CPU(s) started at EL2"'
echo content >"$WORK/file"
echo "echo @run; test -c /dev/kvm && grep -q content /some/where && $HAS" >"$WORK/script"
expect 0 1
echo 'echo @run; exit 7' >"$WORK/script"
expect 7 1
HOST+=(--raw) # its lines end with carriage returns
expect 7 1
unset 'HOST[-1]'
echo 'echo @run; sleep 0.5; echo c >/proc/sysrq-trigger' >"$WORK/script"
expect 100 3
