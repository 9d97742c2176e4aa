#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The products of the guests to boot (tests/run.sh --full, which CI does not run): each word meets each value.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

for kind in '' --arm; do
    said=$(tests/e2e/matrix.sh ${kind:+"$kind"} --full 2>&1 >/dev/null) || found "$said"
done
finish
