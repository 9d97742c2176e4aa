#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# sysroot.sh [--update]: Debian's libraries for AArch64 in $BED/sysroot-arm64, for the preset aarch64. They are those that
# a native build needs (BUILD_PACKAGES), of this machine's own release. What is there is not made again, so that it works
# offline, until the list of packages changes; --update asks the archive.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=tests/e2e/apt.sh
. "$(dirname "$0")/../e2e/apt.sh"

UPDATE=
case ${1:-} in
'') ;;
--update) UPDATE=1 ;;
*) die "unknown option $1: the head of this script says what there is" ;;
esac

# Links like libz.so -> /lib/aarch64-linux-gnu/libz.so.1 would lead to the machine's own files.
links_relative() {
    local link target up
    while IFS= read -r link; do
        target=$(readlink "$1/$link")
        up=$(sed 's,[^/]*$,,; s,[^/]*/,../,g' <<<"$link")
        ln -sfn "$up${target#/}" "$1/$link"
    done < <(cd "$1" && find . -type l -lname '/*' -printf '%P\n')
}

# A package may bring files below either name of what is one folder on an installed system.
lib_merge() {
    mkdir -p "$1"/{lib,usr/lib}
    cp -a "$1"/lib/. "$1/usr/lib/"
    rm -rf "${1:?}/lib"
    ln -s usr/lib "$1/lib"
}

SYSROOT=$BED/sysroot-arm64
WANT=()
for package in "${BUILD_PACKAGES[@]}"; do
    [[ $package != *-dev ]] || WANT+=("$package")
done
packages_ensure "${ARM_PACKAGES[@]}"
bed_lock
if [[ -n $UPDATE || ! -e $SYSROOT/packages || $(cat "$SYSROOT/packages") != "${WANT[*]}" ]]; then
    # shellcheck source=/dev/null
    apt_private "$(. /etc/os-release && echo "$VERSION_CODENAME")" arm64
    mapfile -t all < <(with_dependencies "${WANT[@]}")
    ((${#all[@]} >= ${#WANT[@]})) || die "cannot find arm64 packages for ${WANT[*]}"
    say "${#all[@]} packages of arm64"
    rm -rf "$BED"/sysroot.* # of a run that was interrupted
    new=$(mktemp -d "$BED/sysroot.XXXXXX")
    chmod 755 "$new"
    unpack "$new" "${all[@]}"
    rm -rf "${new:?}"/{etc,var,bin,sbin,usr/bin,usr/sbin} "$new"/usr/share/{doc,man,locale,info}
    lib_merge "$new"
    links_relative "$new"
    echo "${WANT[*]}" >"$new/packages"
    rm -rf "$SYSROOT"
    mv -T "$new" "$SYSROOT"
fi
echo "$SYSROOT"
