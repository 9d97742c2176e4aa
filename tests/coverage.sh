#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# coverage.sh [TREE [LIBRARY]]: line coverage of each library, or this one, by the tests that ran in TREE (build/coverage), against the
# floor (85 %, or what tests/coverage.floor says for a library: "NAME PERCENT"; floors are only ever raised). Nothing to measure is a
# failure: no libraries, one that was not built with counters, or no counters of a run.
set -euo pipefail
cd "$(dirname "$0")/.."

FLOOR=85 TREE=${1:-build/coverage} ONLY=${2:-}
[[ -s $TREE/libraries.txt ]] || { echo "$TREE has no libraries: tests/run.sh builds it" >&2 && exit 1; }
# The one that belongs to the compiler, which in a cross build has a prefix.
GCOV=$(sed -n 's/^CMAKE_C_COMPILER:.*=\(.*\)gcc$/\1gcov/p' "$TREE/CMakeCache.txt" 2>/dev/null || true)
[[ -z $ONLY ]] || grep -q "^$ONLY|" "$TREE/libraries.txt" || { echo "$TREE has no library $ONLY" >&2 && exit 1; }
bad=0
while IFS='|' read -r name _; do
    dir=$TREE/CMakeFiles/vmm-$name.dir
    [[ -z $ONLY || $name = "$ONLY" ]] || continue
    floor=$(awk -v n="$name" -v f=$FLOOR '$1 == n { f = $2 } END { print f }' tests/coverage.floor)
    notes=() counters=()
    [[ ! -d $dir ]] || mapfile -t notes < <(find "$dir" -name '*.gcno')
    [[ ! -d $dir ]] || mapfile -t counters < <(find "$dir" -name '*.gcda')
    ((${#notes[@]})) || { echo "$name: $TREE was not built with --coverage" && bad=1 && continue; }
    ((${#counters[@]})) || { echo "$name: no counters: run the tests of $TREE first" && bad=1 && continue; }
    # gcov says per file: File 'x.c' / Lines executed:P% of N. Headers and what lies outside the tree do not count.
    "${GCOV:-gcov}" -n "${notes[@]}" 2>/dev/null | awk -v name="$name" -v floor="$floor" '
        /^File/ { counted = /\.c.$/ && !/_test\.c/ }
        /^Lines executed/ && counted { split($2, p, /[:%]/); hit += p[2] * $4 / 100; all += $4; counted = 0 }
        END {
            if (!all) { printf "%-16s gcov finds no lines of it\n", name; exit 1 }
            percent = 100 * hit / all
            printf "%-16s %5.1f %% of %5d lines (floor %d)%s\n", name, percent, all, floor, percent < floor ? "  TOO LOW" : ""
            exit percent < floor
        }' || bad=1
done <"$TREE/libraries.txt"
exit $bad
