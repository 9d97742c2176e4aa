#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# device-page.sh PROGRAM [--write]: the page of each device of PROGRAM's build (device_page.c) says what its class row says,
# between two comments; --write puts it there.
set -euo pipefail
program=$1 write=${2-}
models=$(dirname "$0")/../../devices/models
[[ -z $write || $write = --write ]] || { echo "unknown option $write: the head of this script says what there is" >&2; exit 2; }
bad=0

wrong() {
    echo "devices/models/$name/$name.md: $*" >&2
    bad=1
}

mapfile -t names < <("$program")
((${#names[@]})) || { echo "$program has no device class" >&2; exit 1; }
for name in "${names[@]}"; do
    page=$models/$name/$name.md
    [[ -e $page ]] || { wrong "there is no such page"; continue; }
    if [[ $(grep -E '^<!-- (class row|end) ' "$page" | cut -d' ' -f1-3 | tr '\n' ' ') != '<!-- class row <!-- end of ' ]]; then
        wrong "needs one line '<!-- class row -->' and behind it one '<!-- end of class row -->';" \
            "tests/contract/device-page.sh $program --write fills them"
        continue
    fi
    block=$("$program" "$name")
    page_block=$(sed -n '/^<!-- class row /,/^<!-- end of /p' "$page" | sed '1d;$d')
    [[ $page_block != "$block" ]] || continue
    if [[ -n $write ]]; then
        { sed '/^<!-- class row /q' "$page" && echo "$block" && sed -n '/^<!-- end of /,$p' "$page"; } >"$page.new"
        mv "$page.new" "$page"
    else
        wrong "is not what its class row says: tests/contract/device-page.sh $program --write"
        diff <(echo "$page_block") <(echo "$block") >&2 || true
    fi
done
exit $bad
