#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Libraries below vmm/ do not end the process, print, or ask the world for time, randomness or files by themselves:
# that comes in through struct vm_env. Tests have one limit of time: cmake/vmm_test.cmake says why.
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -t list < <(files '*.c' | grep -vE '^(vmm|tests|docs)/|_(test|fuzz)\.c$')
found_lines "ends or prints" < <(grep -nE '(^|[^A-Za-z0-9_>.])(abort|exit|_exit|printf|puts|perror) ?\(' "${list[@]}" /dev/null |
    grep -vE '^base/src/lock\.c:.*abort|:[0-9]+: *(/?\*|//)' || true) # a wrong lock order ends a debug build
# base's env.c is where the host's own environment is made.
mapfile -t list < <(printf '%s\n' "${list[@]}" | grep -vE '^base/src/(env|timer|loop)[a-z_]*\.c$')
found_lines "asks the host" < <(grep -nE '(^|[^A-Za-z0-9_>.])(clock_gettime|gettimeofday|time|getrandom|rand|getenv|signal|sigaction) ?\(' "${list[@]}" /dev/null |
    grep -vE ':[0-9]+: *(/?\*|//)' || true)
mapfile -t list < <(files '*_test.c')
found_lines "a limit that is not TEST_TIMEOUT" < <(grep -nE '\.timeout = [^T]' "${list[@]}" /dev/null || true)
finish
