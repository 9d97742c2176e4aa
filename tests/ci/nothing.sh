#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# nothing.sh: a check that has nothing to look at fails, and says why: coverage.sh, the list of tests, the style checks.
set -euo pipefail
cd "$(dirname "$0")/../.."

ROOT=$PWD bad=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# fails WORDS COMMAND...: it does, and says so.
fails() {
    local words=$1
    shift
    if "$@" >"$dir/said" 2>&1; then
        echo "passes, but has nothing to look at: $*" && bad=1
    elif ! grep -qF "$words" "$dir/said"; then
        echo "does not say '$words': $*" && cat "$dir/said" && bad=1
    fi
}

# works COMMAND...
works() { "$@" >"$dir/said" 2>&1 || { echo "fails: $*" && cat "$dir/said" && bad=1; }; }

# ---- coverage.sh ----

tree=$dir/tree objects=$dir/tree/CMakeFiles/vmm-one.dir
mkdir -p "$objects"
fails "has no libraries" tests/coverage.sh "$dir/none"
: >"$tree/libraries.txt"
fails "has no libraries" tests/coverage.sh "$tree"
echo "one|one_|one.a" >"$tree/libraries.txt"
fails "was not built with --coverage" tests/coverage.sh "$tree"
echo 'int main(void) { return 0; }' >"$objects/one.c"
gcc --coverage -o "$objects/one" "$objects/one.c"
fails "no counters" tests/coverage.sh "$tree"
"$objects/one"
works tests/coverage.sh "$tree"
echo "two|two_|two.a" >>"$tree/libraries.txt"
fails "two: " tests/coverage.sh "$tree"
fails "has no library three" tests/coverage.sh "$tree" three

# ---- the list of tests ----

# list NEED CALL: one call of collect.cmake, for a project in $dir/root.
# shellcheck disable=SC2317 # called by the name in its arguments
list() {
    printf 'set(ROOT %s)\nset(VMM_NEED_FUZZERS %s)\nset(VMM_FUZZ_SECONDS 1)\ninclude(%s)\n%s\n' \
        "$dir/root" "$1" "$ROOT/tests/ci/collect.cmake" "$2" >"$dir/list.cmake"
    cmake -P "$dir/list.cmake"
}
mkdir -p "$dir/root/build/asan"
fails "has no tests" list ON 'collect(asan ".")'
: >"$dir/root/build/asan/CTestTestfile.cmake"
fails "has no tests" list ON 'collect(asan ".")'
fails "no fuzz targets" list ON "collect_fuzzers()"
works list OFF "collect_fuzzers()"

# ---- style ----

mkdir -p "$dir/copy/tests"
cp -r tests/style "$dir/copy/tests/"
fails "no files" env GIT_CEILING_DIRECTORIES="$dir" "$dir/copy/tests/style/length.sh"

exit $bad
