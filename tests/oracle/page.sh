#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# page.sh ORACLE PAGE [--write]: the table of differences in PAGE is the one in the program; --write puts it there.
set -euo pipefail
program=$1 page=$2
table() { sed -n '/^<!-- table/,/^<!-- end/p' "$1" | sed '1d;$d'; }
if [[ ${3-} == --write ]]; then
    { sed '/^<!-- table/q' "$page"; "$program" --table; sed -n '/^<!-- end/,$p' "$page"; } >"$page.new"
    mv "$page.new" "$page"
fi
diff <(table "$page") <("$program" --table) && exit
echo "$page: its table is not that of tests/oracle/differences.c; tests/oracle/page.sh $program $page --write" >&2
exit 1
