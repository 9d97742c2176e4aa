# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash
#
# Sourced by the style checks. Each prints what it finds, one a line, and fails if there was something.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
FOUND=0

# files [PATTERN...]: the project's files, the new ones too, but nothing that is ignored.
files() {
    git -c safe.directory='*' ls-files -co --exclude-standard -- "$@" | sort -u |
        while IFS= read -r f; do [[ ! -f $f ]] || echo "$f"; done
}

[[ $(files '*.sh') ]] || { echo "no files: this is no git checkout" >&2 && exit 1; }

found() {
    echo "$*"
    FOUND=1
}

# found_lines WHAT: each line of standard input is a finding.
found_lines() {
    local line
    while IFS= read -r line; do
        found "$1: $line"
    done
}

finish() { exit $FOUND; }

# The build tree whose libraries are looked at: the newest that has a list of them.
build_tree() {
    local list
    for list in build/coverage build/asan build/debug; do
        [[ ! -s $list/libraries.txt ]] || { echo "$list" && return; }
    done
    echo "no build tree: cmake --preset coverage && cmake --build --preset coverage" >&2
    exit 1
}
