#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# There is a change log, and its first entry is what comes next.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

if [[ ! -s CHANGELOG.md ]]; then
    found "CHANGELOG.md is missing"
elif ! grep -qm1 -iE '^## .*(unreleased|[0-9]+\.[0-9]+)' CHANGELOG.md; then
    found "CHANGELOG.md has no entry: ## Unreleased"
fi
finish
