#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# clang-tidy over the program and its libraries, without their tests: what .clang-tidy says.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

tree=
for t in build/asan build/debug build/coverage; do # the first is compiled by clang
    [[ -n $tree || ! -e $t/build.ninja ]] || tree=$t
done
[[ -n $tree ]] || { echo "no build tree: cmake --preset asan" && exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ninja -C "$tree" -t compdb >"$dir/compile_commands.json"

# What this host's build compiles.
mapfile -t list < <(files '*.c' | grep -vE '^(tests|docs)/|_(test|fuzz)\.c$' |
    while IFS= read -r f; do ! grep -q "\"file\": \".*/$f\"" "$dir/compile_commands.json" || echo "$f"; done)
((${#list[@]} > 100)) || found "only ${#list[@]} files: $tree does not compile all"
printf '%s\n' "${list[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$dir" \
    --extra-arg=-Wno-everything 2>"$dir/counts" || { found "clang-tidy" && { grep -v 'warnings\? generated' "$dir/counts" || true; }; }
finish
