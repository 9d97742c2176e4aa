#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# sandbox-page.sh PROGRAM [--write]: docs/sandbox-syscalls.md has below its last head line what PROGRAM (sandbox_page.c) prints;
# --write puts it there.
set -euo pipefail
program=$1 write=${2-}
page=$(dirname "$0")/../../docs/sandbox-syscalls.md
mark='<!-- generated below this line -->'
[[ -z $write || $write = --write ]] || { echo "unknown option $write: the head of this script says what there is" >&2; exit 2; }
[[ $(grep -cxF -- "$mark" "$page") = 1 ]] || { echo "$page: needs one line '$mark'" >&2; exit 1; }
body=$("$program")
if [[ -n $write ]]; then
    { sed "/^$mark\$/q" "$page" && echo "$body"; } >"$page.new"
    mv "$page.new" "$page"
elif ! diff <(sed "1,/^$mark\$/d" "$page") <(echo "$body") >&2; then
    echo "$page is not what the filters are: tests/contract/sandbox-page.sh $program --write" >&2
    exit 1
fi
