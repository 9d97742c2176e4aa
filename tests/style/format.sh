#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Every C file is as clang-format with .clang-format writes it.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -t list < <(files '*.c' '*.h')
clang-format --dry-run -Werror "${list[@]}" || FOUND=1
finish
