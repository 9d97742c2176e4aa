#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Subjects of commits: "library: What changes", at most 110 characters, no full stop; a body says why.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

# Merges are not counted: their subjects come from the tool.
found_lines "subject" < <(git -c safe.directory='*' log --no-merges --format='%h %s' |
    grep -vE '^[0-9a-f]+ [a-zA-Z0-9_./-]+(, ?[a-zA-Z0-9_./-]+)*: [^ ].{2,}[^.]$' || true)
found_lines "longer than 110" < <(git -c safe.directory='*' log --no-merges --format='%h %s' |
    awk '{ s = substr($0, index($0, " ") + 1); if (length(s) > 110) print $0 }')
found_lines "no body" < <(git -c safe.directory='*' log --no-merges --format='%h %s%x00%b%x01' |
    tr '\n' ' ' | tr '\1' '\n' | awk -F '\0' 'NF == 2 && $2 !~ /[a-z]/ { print $1 }')
finish
