#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# No path, address or name of a particular machine in any file; every seed of the fuzzers has a name that says what it shows.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -t list < <(files '*' | grep -vE '^tests/style/|\.(png|img|bin|gz)$')
found_lines "machine" < <(
    grep -nIE '(^|[^A-Za-z0-9_.$}-])/(home|root|work|Users)/[A-Za-z0-9_]' "${list[@]}" /dev/null |
        grep -v '"/root' || true)
found_lines "host" < <(grep -nIE '(deb|snapshot|security)\.debian\.org|https?://(10|192\.168|172)\.' "${list[@]}" /dev/null || true)
found_lines "unfinished" < <(grep -nIwE 'TODO|FIXME|XXX|HACK' "${list[@]}" /dev/null || true)
found_lines "unnamed" < <(files 'tests/fuzz/corpus/*' | grep -E '/[0-9a-f]{40}$' || true)
finish
