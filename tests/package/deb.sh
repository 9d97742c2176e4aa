#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# deb.sh BUILD: makes the Debian packages vmm and libvmm-dev and looks at what is in them.
set -euo pipefail
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
build=$1

cd "$WORK"
quietly cpack --config "$build/CPackConfig.cmake" -B "$WORK/deb"
program=$(echo deb/vmm_*.deb) dev=$(echo deb/libvmm-dev_*.deb)
for deb in "$program" "$dev"; do
    [[ -e $deb ]] || { echo "no package: $(ls deb)" && exit 1; }
    dpkg-deb -c "$deb" >"$deb.list"
    dpkg-deb -f "$deb" >"$deb.control"
    grep -q '^-\?[^ ]* root/root' "$deb.list" || wrong "$deb: files do not belong to root"
    grep -qE '[^0-9](home|tmp|work)/' "$deb.list" && wrong "$deb: files in odd places"
done

# has PACKAGE PATH...
has() {
    local deb=$1 path
    shift
    for path in "$@"; do
        grep -q " \./$path$" "$deb.list" || wrong "$deb has no $path"
    done
}
has "$program" usr/bin/vmm usr/share/man/man1/vmm.1 usr/share/bash-completion/completions/vmm \
    usr/share/zsh/vendor-completions/_vmm usr/share/fish/vendor_completions.d/vmm.fish usr/share/doc/vmm/copyright
has "$dev" usr/lib/cmake/vmm/vmmConfig.cmake usr/include/vmm/base/loop.h usr/share/doc/libvmm-dev/copyright
while IFS= read -r name; do
    has "$dev" "usr/lib/libvmm-$name.a" "usr/lib/pkgconfig/vmm-$name.pc"
done < <(libraries "$build")
grep -q 'usr/include' "$program.list" && wrong "headers in the program's package"
grep -q 'usr/bin' "$dev.list" && wrong "the program in libvmm-dev"

grep -q '^Package: vmm$' "$program.control" || wrong "name of the program's package"
grep -q '^Depends:' "$program.control" && wrong "a static program depends on nothing"
grep -qE '^Depends: .*libfdt-dev.*libjansson-dev|^Depends: .*libjansson-dev.*libfdt-dev' "$dev.control" ||
    wrong "libvmm-dev does not depend on what its archives need"

dpkg-deb -x "$program" installed
quietly installed/usr/bin/vmm version
exit $FAILED
