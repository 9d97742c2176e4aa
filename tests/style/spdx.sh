#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The licence stands in the first lines of each file that can hold a comment.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

list() {
    files '*.c' '*.h' '*.S' '*.ld' '*.lds' '*.asl' '*.sh' '*.py' '*.cmake' '*.in' '*CMakeLists.txt' .ci/run
}
found_lines "no SPDX line" < <(list | while IFS= read -r f; do
    head -3 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause' || echo "$f"
done)
finish
