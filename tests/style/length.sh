#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Functions have at most 60 lines, files at most 800.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

# As clang-format lays it out, a function's body opens with { and closes with } in the first column.
mapfile -t list < <(files '*.c' '*.h')
found_lines "too long" < <(awk '
    FNR == 1 { start = 0 }
    FNR == 801 { print FILENAME " has more than 800 lines" }
    /^{/ { start = FNR; name = previous }
    /^}/ && start { if (FNR - start + 1 > 60) print FILENAME ":" start ": " FNR - start + 1 " lines: " name; start = 0 }
    { if (!/^[ \t]/) previous = $0 }' "${list[@]}" /dev/null)
finish
