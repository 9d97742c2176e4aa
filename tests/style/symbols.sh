#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Every global symbol of an archive begins with the prefix registered for its library.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

tree=$(build_tree)
while IFS='|' read -r name prefix archive _; do
    [[ -e $archive ]] || { found "$name: $archive was not built" && continue; }
    pattern="^(${prefix// /|})"
    # What a compiler adds (sanitizers, coverage) begins with __ and is nobody's name.
    found_lines "$name: no prefix $prefix" < <(nm --defined-only --extern-only --format=posix "$archive" 2>/dev/null |
        awk 'NF >= 3 && $2 ~ /^[A-TW-Z]$/ { print $1 }' | grep -vE "$pattern|^__" | sort -u)
done <"$tree/libraries.txt"
finish
