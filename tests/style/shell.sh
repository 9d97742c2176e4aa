#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Shell scripts: shellcheck has nothing to say, and each stops at its first error.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -t list < <({ files '*.sh'; files .ci/run; } | sort -u)
shellcheck -x -P . "${list[@]}" || FOUND=1
for f in "${list[@]}"; do
    # Sourced ones and those that run in a guest have no bash of their own.
    [[ $(head -1 "$f") != '#!/bin/bash' ]] || grep -q '^set -euo pipefail$' "$f" || found "$f: no set -euo pipefail"
done
finish
