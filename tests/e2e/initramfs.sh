#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# initramfs.sh host KERNEL OUTPUT.cpio [MODULE...]     for the emulated host, with KVM and /vmm's place
# initramfs.sh guest KERNEL OUTPUT.cpio [MODULE...]    for a test guest: virtio drivers
# initramfs.sh bare KERNEL OUTPUT.cpio INIT [MODULE...]  nothing but the program INIT and modules
# initramfs.sh disk[-arm64] OUTPUT.img                 the same userland as an ext4 root disk
# initramfs.sh qemu OUTPUT.img                         trixie's QEMU (fetch.sh --qemu) as ext4, to compare with
# initramfs.sh qemu-arm64 OUTPUT.cpio                  the one for AArch64 below /q, to put behind a host's archive
#
# KERNEL is a name below $BED/kernels. Uncompressed, so that another archive may be appended and no emulated
# processor has to unpack it. Modules are Debian's, byte for byte. Made again only when an input is newer.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HERE=$ROOT/tests/e2e
GUEST_MODULES=(virtio_pci virtio_mmio virtio_blk virtio_net virtio_console virtio_rng vmw_vsock_virtio_transport ext4 evdev)

# modules_of ROLE KERNEL: KVM is built in on AArch64, and only the standard kernels have a driver for the power key there.
modules_of() {
    case $1-$2 in
    host-*-arm64) echo virtio_blk loop tun vhost_net vhost_vsock ;;
    host-*) echo kvm-amd virtio_blk loop tun vhost_net vhost_vsock ;;
    guest-*-standard-arm64) echo "${GUEST_MODULES[@]}" gpio_keys ;;
    guest-*-arm64) echo "${GUEST_MODULES[@]}" ;;
    guest-*) echo "${GUEST_MODULES[@]}" button ;;
    esac
}

# userland DIR ARCH
userland() {
    local dir=$1 applet gcc=gcc busybox=/bin/busybox
    [[ $2 != arm64 ]] || { gcc=aarch64-linux-gnu-gcc && busybox=$BED/programs-arm64/busybox; }
    mkdir -p "$dir"/{bin,sbin,dev,proc,sys,tmp,run,mnt,root,etc,lib/modules}
    "$gcc" -Os -static -s -o "$dir/init" "$HERE/init.c"
    "$gcc" -Os -static -s -o "$dir/bin/vsock" "$HERE/vsock.c"
    cp "$busybox" "$dir/bin/busybox"
    while read -r applet; do
        [[ $applet = busybox ]] || ln -s busybox "$dir/bin/$applet"
    done < <(/bin/busybox --list)
    echo root:x:0:0::/root:/bin/sh >"$dir/etc/passwd"
}

# modules DIR KERNEL MODULE...: the files with all they need, and their order in /lib/modules.list.
modules() {
    local dir=$1 tree version m file base
    tree=$(readlink -f "$KERNELS/$2")
    version=${tree##*/}
    shift 2
    for m in "$@"; do
        # An alias or a driver that is built in gives no line with insmod; a name nobody knows fails.
        modprobe -d "$tree" -S "$version" --show-depends "$m" || die "$version has no module $m"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
        base=$(basename "${file%.xz}")
        if [[ $file = *.xz ]]; then
            xz -dc "$file" >"$dir/lib/modules/$base"
        else
            cp "$file" "$dir/lib/modules/$base"
        fi
        echo "$base" >>"$dir/lib/modules.list"
    done
}

# recipe WORD FILE-OR-DIRECTORY...: what an image is made of, by content: checkouts share the images, and their files' times say nothing.
recipe() {
    local in
    echo "$1"
    shift
    for in in "$@"; do
        if [[ -d $in ]]; then
            find "$in" -printf '%P %s %T@\n' | LC_ALL=C sort
        else
            cat "$in"
        fi
    done
}

is_made() { [[ -s $1 && $(cat "$1.recipe" 2>/dev/null) = "$2" ]]; }

main() {
    local role=$1 kernel='' out made_of wanted=() inputs=("$0" "$HERE/lib.sh" "$HERE/init.c" "$HERE/vsock.c" /bin/busybox)
    shift
    case $role in
    host | guest) kernel=$1 && inputs+=("$KERNELS/$kernel/vmlinuz") && shift ;;
    bare) kernel=$1 && inputs=("$0" "$HERE/lib.sh" "$KERNELS/$kernel/vmlinuz" "$3") && shift ;;
    qemu | qemu-arm64) inputs=("$0" "$BED/$role") ;;
    disk | disk-arm64) kernel=${role#disk} ;;
    *) die "unknown role $role" ;;
    esac
    out=$1
    shift
    made_of=$(recipe "$role $kernel $*" "${inputs[@]}" | sha256sum)
    ! is_made "$out" "$made_of" || return 0
    bed_lock
    ! is_made "$out" "$made_of" || return 0
    rm -f "$out.recipe"
    WORK=$(mktemp -d)
    PART=$out.part
    trap 'rm -rf "$WORK" "$PART"' EXIT
    [[ $role = qemu* || $role = bare ]] || userland "$WORK" "$(arch_of "$kernel")"
    case $role in
    host | guest)
        read -ra wanted < <(modules_of "$role" "$kernel")
        modules "$WORK" "$kernel" "${wanted[@]}" "$@" && cpio_of "$WORK" >"$out.part"
        ;;
    bare)
        mkdir -p "$WORK"/{dev,lib/modules}
        cp "$1" "$WORK/init" && shift
        modules "$WORK" "$kernel" "$@" && cpio_of "$WORK" >"$out.part"
        ;;
    disk | disk-arm64)
        # Something to read back: its sum stands beside it.
        head -c 2M /dev/urandom >"$WORK/data"
        (cd "$WORK" && sha256sum data >data.sha256)
        mkfs.ext4 -q -F -L root -d "$WORK" "$out.part" 24M >/dev/null
        ;;
    qemu) mkfs.ext4 -q -F -O ^has_journal -d "$BED/qemu" "$out.part" 400M >/dev/null ;;
    qemu-arm64)
        mkdir -p "$WORK"/{lib,q/usr/bin,q/usr/share}
        cp "$BED/qemu-arm64/usr/bin/qemu-system-aarch64" "$WORK/q/usr/bin/"
        cp -r "$BED/qemu-arm64/usr/share/qemu" "$WORK/q/usr/share/"
        cp -a "$BED/qemu-arm64/usr/lib" "$WORK/q/usr/"
        ln -s /q/usr/lib/ld-linux-aarch64.so.1 "$WORK/lib/"
        cpio_of "$WORK" >"$out.part"
        ;;
    esac
    mv "$out.part" "$out"
    echo "$made_of" >"$out.recipe"
}

main "$@"
