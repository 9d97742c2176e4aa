# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2034
# Sourced by the tests of this folder.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
FAILED=0
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

wrong() {
    echo "wrong: $*"
    FAILED=1
}

# quietly COMMAND...: shows the output only if the command fails, and then ends.
quietly() {
    "$@" >"$WORK/log" 2>&1 || { cat "$WORK/log" && echo "failed: $*" && exit 1; }
}

# The libraries of a build tree.
libraries() { cut -d'|' -f1 "$1/libraries.txt"; }
