#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# coverage.sh: line coverage of each library by the tests that ran in build/coverage, against the floor (85 %, or
# what tests/coverage.floor says for a library: "NAME PERCENT"; floors are only ever raised).
set -euo pipefail
cd "$(dirname "$0")/.."

FLOOR=85
bad=0
while IFS='|' read -r name _; do
    dir=build/coverage/CMakeFiles/vmm-$name.dir
    floor=$(awk -v n="$name" -v f=$FLOOR '$1 == n { f = $2 } END { print f }' tests/coverage.floor)
    mapfile -t notes < <(find "$dir" -name '*.gcno')
    ((${#notes[@]})) || continue
    # gcov says per file: File 'x.c' / Lines executed:P% of N. Headers and what lies outside the tree do not count.
    gcov -n "${notes[@]}" 2>/dev/null | awk -v name="$name" -v floor="$floor" '
        /^File/ { counted = /\.c.$/ && !/_test\.c/ }
        /^Lines executed/ && counted { split($2, p, /[:%]/); hit += p[2] * $4 / 100; all += $4; counted = 0 }
        END {
            percent = all ? 100 * hit / all : 100
            printf "%-16s %5.1f %% of %5d lines (floor %d)%s\n", name, percent, all, floor, percent < floor ? "  TOO LOW" : ""
            exit percent < floor
        }' || bad=1
done <build/coverage/libraries.txt
exit $bad
