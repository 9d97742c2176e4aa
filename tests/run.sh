#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# run.sh [OPTION...]: installs what is missing, builds every tree, runs every test; the last words are ctest's summary.
#   -R REGEX    only tests whose name matches (names: tests/ci/CMakeLists.txt)
#   --long      fuzz each target for 10 minutes
#   --each-commit [BASE]  builds each commit since BASE (default: origin/main), and nothing else
#   --full      boot the full product of guests instead of the choice (hours)
#   -j N        tests and compilers at a time (default: processors)
# Needs Debian 12 for x86_64 or AArch64; root and the network the first time, or after a package list has grown.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/e2e/lib.sh"

JOBS=$(nproc) CTEST=() CI=(-DVMM_LONG=OFF -DVMM_FULL=OFF -DVMM_NEED_FUZZERS=ON) PRESETS=(release coverage asan tsan fuzz debug)
# An Arm machine builds for itself.
[[ $NATIVE = aarch64 ]] || PRESETS+=(aarch64 aarch64-coverage aarch64-debug)
while (($#)); do
    case $1 in
    --each-commit) exec "$ROOT/tests/each-commit.sh" "${@:2:1}" ;;
    -R) CTEST+=(-R "$2") && shift ;;
    -j) JOBS=$2 && shift ;;
    --long) CI+=(-DVMM_LONG=ON) ;;
    --full) CI+=(-DVMM_FULL=ON) ;;
    *) die "unknown option $1: the head of this script says what there is" ;;
    esac
    shift
done

# quietly NAME COMMAND...: the output goes to a file and is shown only if the command fails.
quietly() {
    local log=$ROOT/build/$1.log start=$SECONDS
    shift
    "$@" >"$log" 2>&1 || { cat "$log" >&2; die "failed: $*"; }
    say "$* ($((SECONDS - start)) s)"
}

cd "$ROOT"
mkdir -p build
packages_ensure "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}" "${BED_PACKAGES[@]}" "${ARM_PACKAGES[@]}" "${BED_ARM_PACKAGES[@]}"
[[ $NATIVE = aarch64 ]] || quietly sysroot tests/arm/sysroot.sh
quietly peers tests/e2e/fetch.sh --dpdk --passt
quietly dt-schema tests/arm/devicetree.sh --schemas
for preset in "${PRESETS[@]}"; do
    extra=() what=$preset
    [[ $preset != fuzz ]] || extra=(-DVMM_TESTS=OFF)
    [[ $preset != debug ]] || what=debug-vmm
    quietly "configure-$preset" cmake --preset "$preset" ${extra[@]+"${extra[@]}"}
    quietly "build-$preset" cmake --build --preset "$what" -j "$JOBS"
done
# Counters of an earlier run would count for this one.
for tree in build/*coverage; do
    find "$tree" -name '*.gcda' -delete
done
quietly configure-ci cmake -S tests/ci -B build/ci -G Ninja "${CI[@]}"
exec ctest --test-dir build/ci -j "$JOBS" --output-on-failure --no-tests=error ${CTEST[@]+"${CTEST[@]}"}
