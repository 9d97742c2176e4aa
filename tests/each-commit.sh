#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# each-commit.sh [BASE]: builds each commit since BASE (default: origin/main), oldest first, in a scratch worktree below
# build/, with all warnings as errors. Names every commit that does not build, and fails if there is one.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/e2e/lib.sh"

cd "$ROOT"
packages_ensure "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
BASE=${1:-origin/main}
git rev-parse -q --verify "$BASE^{commit}" >/dev/null || die "no commit '$BASE': name the one that your work began at"
TREE=$ROOT/build/each-commit
mapfile -t commits < <(git rev-list --reverse --no-merges "$BASE..HEAD")
((${#commits[@]})) || { say "no commits since $BASE" && exit 0; }

leave() { git worktree remove --force "$TREE/source" 2>/dev/null || true; }
trap leave EXIT
mkdir -p "$TREE"
leave
git worktree prune
git worktree add -q --detach "$TREE/source" "${commits[0]}"

# A commit may change what is configured: cmake runs each time, compiling is only what changed.
build() {
    cmake -S "$TREE/source" -B "$TREE/tree" -G Ninja -DCMAKE_BUILD_TYPE=Debug &&
        cmake --build "$TREE/tree" -j "$(nproc)"
}

bad=0
for commit in "${commits[@]}"; do
    subject=$(git log -1 --format='%h %s' "$commit")
    git -C "$TREE/source" checkout -q --detach "$commit"
    if build >"$TREE/log" 2>&1; then
        say "builds: $subject"
    else
        tail -30 "$TREE/log" >&2
        say "DOES NOT BUILD: $subject"
        bad=$((bad + 1))
    fi
done
((!bad)) || die "$bad of ${#commits[@]} commits do not build"
say "all ${#commits[@]} commits since $BASE build"
