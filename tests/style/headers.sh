#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Each public header compiles alone, as C11 and as C++17, with the declared include paths only.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

tree=$(build_tree)
while IFS='|' read -r name _ _ folder includes; do
    IFS=';' read -ra dirs <<<"$includes"
    flags=(-fsyntax-only -Wall -Wextra -Werror "${dirs[@]/#/-I}")
    while IFS= read -r header; do
        gcc -std=gnu11 -D_GNU_SOURCE -x c "${flags[@]}" "$header" || found "$name: $header does not compile alone as C11"
        g++ -std=gnu++17 -x c++ "${flags[@]}" "$header" || found "$name: $header does not compile alone as C++17"
    done < <(files "$folder/include/*.h")
done <"$tree/libraries.txt"
finish
