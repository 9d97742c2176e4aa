#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# install.sh BUILD PREFIX: installs a build tree into an empty PREFIX and looks for what must be there.
set -euo pipefail
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
build=$1 prefix=$2

rm -rf "$prefix"
quietly cmake --install "$build" --prefix "$prefix"

while IFS='|' read -r name _ _ _ includes; do
    [[ -s $prefix/lib/libvmm-$name.a ]] || wrong "no lib/libvmm-$name.a"
    PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --print-errors --exists "vmm-$name = $("$build/vmm" version | cut -d' ' -f2)" ||
        wrong "vmm-$name.pc"
    headers=${includes%%;*}/vmm/$name
    diff -rq "$headers" "$prefix/include/vmm/$name" || wrong "headers of $name"
done <"$build/libraries.txt"
# Nothing of the tree it was built in, and nothing that only one version of one compiler can read.
grep -rlF -e "$ROOT" "$prefix/lib/pkgconfig" "$prefix/lib/cmake" "$prefix/share" && wrong "names the source tree"
readelf -SW "$prefix"/lib/*.a | grep -F .gnu.lto && wrong "archives with an LTO part"

quietly "$prefix/bin/vmm" version
grep -q '^\.TH "VMM" 1' "$prefix/share/man/man1/vmm.1" || wrong "manual page"
quietly bash -n "$prefix/share/bash-completion/completions/vmm"
grep -q '^#compdef vmm' "$prefix/share/zsh/site-functions/_vmm" || wrong "completion for zsh"
grep -q '^complete -c vmm' "$prefix/share/fish/vendor_completions.d/vmm.fish" || wrong "completion for fish"
for file in vmm/LICENSE-APACHE vmm/LICENSE-BSD-3-Clause vmm/CHANGELOG.md libvmm-dev/LICENSE-APACHE libvmm-dev/architecture.md; do
    [[ -s $prefix/share/doc/$file ]] || wrong "no share/doc/$file"
done
exit $FAILED
