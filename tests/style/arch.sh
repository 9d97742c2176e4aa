#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Code knows its architecture only in arch-*/kvm and hypervisor (and in tests).
set -euo pipefail
# shellcheck source=tests/style/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -t list < <(files '*.c' '*.h' | grep -vE '^(arch-[a-z0-9_]*/kvm|hypervisor|tests|docs)/|_test\.c$')
# "#if"-lines only: a comment may name an architecture.
found_lines "architecture outside arch-*/kvm and hypervisor" < <(
    grep -nE '^ *# *(if|ifdef|ifndef|elif).*__(x86_64|aarch64|i386|amd64|arm)' "${list[@]}" /dev/null || true)
finish
