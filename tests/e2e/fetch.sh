#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# fetch.sh [--update] [SUITE-FLAVOUR ...]    default: bookworm-cloud trixie-cloud
# fetch.sh [--update] --qemu | --qemu-arm64 | --peers | --peers-arm64 | --dpdk | --passt | --fio | --fio-arm64 | --iperf |
#          --iperf-arm64 | --vsock-test | --vsock-test-arm64
#
# Debian's own kernels, unchanged, into $BED/kernels/VERSION/{vmlinuz,vmlinux,config,lib/modules},
# and a link $BED/kernels/SUITE-FLAVOUR to the version (flavours: cloud, standard). SUITE-FLAVOUR-arm64 are those for
# AArch64: vmlinuz (an Image), and the same as vmlinuz.gz and vmlinuz.zst; with them come busybox and e2fsck for it.
# --qemu: trixie's QEMU with all its libraries into $BED/qemu, for the emulated host (its SMP is steadier than bookworm's).
# --qemu-arm64: the one that runs on AArch64, into $BED/qemu-arm64, to compare with in the emulated Arm host.
# --peers, --peers-arm64: bookworm's qemu-storage-daemon and virtiofsd with their libraries and loader, into $BED/peers and
# $BED/peers-arm64, one folder each without others below it: for an emulated host.
# --dpdk: testpmd and its vhost driver, --passt: trixie's passt, likewise, of this machine's architecture, into $BED/dpdk and $BED/passt.
# --fio, --fio-arm64: bookworm's fio for a guest, into $BED/fio and $BED/fio-arm64: with the libraries of its engines for disks, and empty
# ones in place of those for Ceph, Gluster, RDMA and the like, which are 80 MB.
# --iperf, --iperf-arm64: bookworm's iperf3, into $BED/iperf and $BED/iperf-arm64, likewise: without OpenSSL, which only its passwords need.
# --vsock-test: Linux's own test of AF_VSOCK (tools/testing/vsock) of trixie's kernel source, static, --vsock-test-arm64: of bookworm's, into
# $BED/vsock-test: one for each emulated host's kernel.
# What is there is not looked for again, so that it works offline; --update asks the archive.
# The machine's own apt is only read: apt.sh.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/apt.sh
. "$(dirname "$0")/apt.sh"

UPDATE=
WANT=()

fetch_kernel() {
    local name=$1 suite=${1%%-*} arch flavour meta package version new
    arch=$(arch_of "$name")
    flavour=${name#*-}
    case ${flavour%-arm64} in
    cloud) meta=linux-image-cloud-$arch ;;
    standard) meta=linux-image-$arch ;;
    *) die "$name: use SUITE-cloud or SUITE-standard, with -arm64 for AArch64" ;;
    esac
    [[ ! -e $KERNELS/$name/vmlinuz || -n $UPDATE ]] || return 0
    apt_private "$suite" "$arch"
    package=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
    version=${package#linux-image-}
    [[ -n $version ]] || die "$suite has no $meta"
    if [[ ! -e $KERNELS/$version/vmlinuz ]]; then
        say "$name: Linux $version"
        new=$(mktemp -d "$KERNELS/new.XXXXXX")
        chmod 755 "$new"
        unpack "$new" "$package"
        mv "$new/boot/vmlinuz-$version" "$new/vmlinuz"
        mv "$new/boot/config-$version" "$new/config"
        [[ -d $new/lib/modules ]] || mv "$new/usr/lib" "$new/lib" # trixie packs them below /usr
        rm -rf "${new:?}"/{usr,boot}
        depmod -b "$new" "$version"
        if [[ $arch = arm64 ]]; then
            gzip -k "$new/vmlinuz" && zstd -q "$new/vmlinuz"
        else
            "$ROOT/tests/e2e/extract-vmlinux.sh" "$new/vmlinuz" "$new/vmlinux"
        fi
        mv -T "$new" "$KERNELS/$version"
    fi
    ln -sfnT "$version" "$KERNELS/$name"
}

# busybox and, with all its libraries, e2fsck: into $BED/programs-arm64.
fetch_programs_arm64() {
    local new debs
    [[ ! -e $BED/programs-arm64/busybox || -n $UPDATE ]] || return 0
    apt_private bookworm arm64
    say "busybox and e2fsck for AArch64"
    mapfile -t debs < <(with_dependencies e2fsprogs busybox-static)
    new=$(mktemp -d "$BED/new.XXXXXX")
    chmod 755 "$new"
    unpack "$new/all" "${debs[@]}"
    mkdir "$new/fsck"
    cp "$new/all/bin/busybox" "$new/busybox"
    cp "$new/all/sbin/e2fsck" "$new/fsck/"
    cp -L "$new"/all/{lib,usr/lib}/aarch64-linux-gnu/lib{ext2fs,com_err,blkid,uuid,e2p,c,pthread}.so.? "$new/fsck/" 2>/dev/null || true
    cp -L "$new/all/lib/ld-linux-aarch64.so.1" "$new/fsck/ld.so"
    rm -rf "$new/all" "$BED/programs-arm64"
    mv -T "$new" "$BED/programs-arm64"
}

# fetch_qemu DIR PROGRAM ARCH PACKAGE...
fetch_qemu() {
    local dir=$BED/$1 program=$2 arch=$3 new debs
    shift 3
    [[ ! -e $dir/usr/bin/$program || -n $UPDATE ]] || return 0
    apt_private trixie "$arch"
    say "QEMU of trixie ($arch)"
    mapfile -t debs < <(with_dependencies "$@")
    new=$(mktemp -d "$BED/new.XXXXXX")
    chmod 755 "$new"
    unpack "$new" "${debs[@]}"
    rm -rf "$dir" "$new"/usr/share/{doc,man,locale,perl,bash-completion}
    mv -T "$new" "$dir"
}

# first ROOT FILE: where below ROOT that is, its name or the end of its path; by name, for a directory's own order differs between machines.
first() {
    find "$1" -path "*/$2" ! -type d | LC_ALL=C sort | sed -n 1p | grep .
}

# with_libraries ROOT DIR PROGRAM...: each with all libraries that it, or one of them, needs; and the loader as ld.so.
with_libraries() {
    local root=$1 dir=$2 file name
    shift 2
    local todo=("$@")
    while ((${#todo[@]})); do
        file=${todo[0]}
        todo=("${todo[@]:1}")
        [[ ! -e $dir/${file##*/} ]] || continue
        cp -L "$file" "$dir/"
        for name in $(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
            todo+=("$(first "$root" "$name")") || die "$file needs $name, which is nowhere"
        done
    done
    mv "$dir"/ld-linux-* "$dir/ld.so"
}

# testpmd is in a package that needs those of all headers: that one alone, and the libraries it needs.
dpdk_packages() {
    apt-cache depends dpdk-dev | sed -n 's/^ *Depends: \(lib.*[0-9]\)$/\1/p'
    apt-cache depends librte-meta-net librte-meta-mempool | sed -n 's/^ *Depends: \(librte-\(net-vhost\|mempool-ring\)[0-9]*\)$/\1/p'
    echo dpdk-dev
}

# fetch_peers DIR SUITE ARCH PACKAGES FILE...: of the packages that the command PACKAGES names, one a line, and of what they need (of X-dev
# alone), these files.
fetch_peers() {
    local dir=$BED/$1 suite=$2 arch=$3 packages=$4 new debs names files=() file
    shift 4
    [[ ! -e $dir/ld.so || -n $UPDATE ]] || return 0
    apt_private "$suite" "$arch"
    say "${dir##*/} ($suite, $arch)"
    mapfile -t names < <($packages)
    mapfile -t debs < <(printf '%s\n' "${names[@]}" | sed '/-dev$/d' | xargs apt-get -qq -s install | awk '$1 == "Inst" { print $2 }' &&
        printf '%s\n' "${names[@]}" | sed '/-dev$/!d')
    new=$(mktemp -d "$BED/new.XXXXXX")
    chmod 755 "$new"
    unpack "$new/all" "${debs[@]}"
    for file in "$@"; do
        files+=("$(first "$new/all" "$file")") || die "no package has $file"
    done
    mkdir "$new/peers"
    with_libraries "$new/all" "$new/peers" "${files[@]}"
    rm -rf "$dir"
    mv -T "$new/peers" "$dir"
    rm -rf "$new"
}

# stand_ins ROOT DIR PROGRAM GCC: for each library that PROGRAM names and ROOT has not, one with all that PROGRAM expects of any of them, by
# name and version. To call it is the end.
stand_ins() {
    local root=$1 dir=$2 program=$3 gcc=$4 name libraries=()
    for name in $(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        [[ -n $(find "$root" -name "$name") ]] || libraries+=("$name")
    done
    find "$root" -name 'lib*.so.*' -type f -exec nm -D --defined-only {} + | awk 'NF == 3 { sub(/@@?/, "@", $3); print $3 }' >"$dir/there"
    nm -D --undefined-only "$program" | awk '$1 == "U" { print $2 }' | grep -vxF -f "$dir/there" >"$dir/wanted"
    sed 's/\(.*\)@.*/\1/; s/.*/void &(void) { __builtin_trap(); }/' "$dir/wanted" >"$dir/none.c"
    sed -n 's/\(.*\)@\(.*\)/\2 { \1; };/p' "$dir/wanted" | awk '{ of[$1] = of[$1] " " $3 } END { for (v in of) print v " {" of[v] " };" }' >"$dir/none.map"
    "$gcc" -shared -nostdlib -fPIC -Os -s -w -ffreestanding -Wl,--version-script="$dir/none.map" -o "$dir/none" "$dir/none.c"
    for name in "${libraries[@]}"; do
        cp "$dir/none" "$root/$name"
    done
    rm "$dir"/{there,wanted,none,none.c,none.map}
}

# fetch_lean DIR ARCH GCC PROGRAM FILE PACKAGE...: the PROGRAM of these packages with the libraries that they have, and stand-ins for those
# that FILE, the program or its library, names beyond.
fetch_lean() {
    local dir=$BED/$1 arch=$2 gcc=$3 program=$4 file=$5 new
    shift 5
    [[ ! -e $dir/ld.so || -n $UPDATE ]] || return 0
    apt_private bookworm "$arch"
    say "$program ($arch)"
    new=$(mktemp -d "$BED/new.XXXXXX")
    chmod 755 "$new"
    unpack "$new/all" "$@" libc6
    mkdir "$new/lean"
    stand_ins "$new/all" "$new" "$(first "$new/all" "$file")" "$gcc"
    with_libraries "$new/all" "$new/lean" "$new/all/usr/bin/$program"
    rm -rf "$dir"
    mv -T "$new/lean" "$dir"
    rm -rf "$new"
}

fetch_fio() { fetch_lean "$1" "$2" "$3" fio bin/fio fio libaio1 libnuma1 zlib1g; }
fetch_iperf() { fetch_lean "$1" "$2" "$3" iperf3 libiperf.so.0 iperf3 libiperf0 libsctp1; }

# fetch_vsock_test SUITE VERSION ARCH GCC: of that suite's kernel. It compares what calls answer, so it is for kernels of its own version.
fetch_vsock_test() {
    local out=$BED/vsock-test/$1-$3 source=linux-source-$2 new
    [[ ! -e $out || -n $UPDATE ]] || return 0
    apt_private "$1"
    say "vsock_test of Linux $2 ($3)"
    new=$(mktemp -d "$BED/new.XXXXXX")
    mkdir -p "$new/deb" "${out%/*}"
    (cd "$new/deb" && apt-get -qq download "$source") || die "cannot download $source"
    dpkg-deb --fsys-tarfile "$new/deb/"*.deb | tar -xO "./usr/src/$source.tar.xz" |
        tar -xJ -C "$new" --strip-components=1 "$source"/tools/{include,testing/vsock}
    (
        cd "$new/tools/testing/vsock"
        rm -f vsock_diag_test.c vsock_perf.c vsock_uring_test.c # programs of their own
        "$4" -O2 -w -static -s -D_GNU_SOURCE -I. -I../../include -o "$new/vsock_test" ./*.c 2>"$new/log"
    ) || die "vsock_test cannot be built: $(tail -3 "$new/log")"
    mv "$new/vsock_test" "$out"
    rm -rf "$new"
}

for arg in "$@"; do
    case $arg in
    --update) UPDATE=1 ;;
    --qemu | --qemu-arm64 | --peers | --peers-arm64 | --dpdk | --passt | --fio | --fio-arm64 | --iperf | --iperf-arm64 | --vsock-test | --vsock-test-arm64)
        WANT+=("$arg")
        ;;
    --*) die "unknown option $arg" ;;
    *) WANT+=("$arg") ;;
    esac
done
((${#WANT[@]})) || WANT=(bookworm-cloud trixie-cloud)
bed_lock
rm -rf "$KERNELS"/new.* "$BED"/{new,debs}.* # of a run that was interrupted
for name in "${WANT[@]}"; do
    case $name in
    --qemu) fetch_qemu qemu qemu-system-x86_64 amd64 qemu-system-x86 seabios ;;
    --peers) fetch_peers peers bookworm amd64 "echo qemu-system-common" bin/qemu-storage-daemon qemu/virtiofsd ;;
    --peers-arm64) fetch_peers peers-arm64 bookworm arm64 "echo qemu-system-common" bin/qemu-storage-daemon qemu/virtiofsd ;;
    --fio) fetch_fio fio amd64 gcc ;;
    --fio-arm64) fetch_fio fio-arm64 arm64 aarch64-linux-gnu-gcc ;;
    --iperf) fetch_iperf iperf amd64 gcc ;;
    --iperf-arm64) fetch_iperf iperf-arm64 arm64 aarch64-linux-gnu-gcc ;;
    --vsock-test) fetch_vsock_test trixie 6.12 amd64 gcc ;;
    --vsock-test-arm64) fetch_vsock_test bookworm 6.1 arm64 aarch64-linux-gnu-gcc ;;
    --passt) fetch_peers passt trixie "$(dpkg --print-architecture)" "echo passt" bin/passt ;;
    --dpdk)
        fetch_peers dpdk bookworm "$(dpkg --print-architecture)" dpdk_packages bin/dpdk-testpmd 'librte_net_vhost.so.[0-9][0-9]' \
            'librte_mempool_ring.so.[0-9][0-9]'
        ;;
    --qemu-arm64) fetch_qemu qemu-arm64 qemu-system-aarch64 arm64 qemu-system-arm ;;
    *)
        fetch_kernel "$name"
        [[ $(arch_of "$name") != arm64 ]] || fetch_programs_arm64
        ;;
    esac
done
