#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# A document that names a file by a relative link names one that is there.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

links() { # FILE: what it links to, a line each, without what is elsewhere or in the same document
    grep -oE '\]\([^)#: ]+(#[^)]*)?\)' "$1" | sed -E 's/^\]\(//; s/(#[^)]*)?\)$//' || true
}

count=0
while IFS= read -r document; do
    while IFS= read -r target; do
        count=$((count + 1))
        [[ -e $(dirname "$document")/$target ]] || found "$document: no $target"
    done < <(links "$document")
done < <(files '*.md')
((count)) || found "no link was found in any document"
finish
