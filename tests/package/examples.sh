#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# examples.sh PREFIX: builds docs/examples against the libraries installed in PREFIX, by CMake with gcc and by pkg-config
# with clang (gcc where there is none): the archives must not depend on the compiler. Runs each and looks at the output.
set -euo pipefail
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
prefix=$1
flags="-Wall -Wextra -Werror"
other=$(command -v clang || echo gcc)

# name|arguments|what a line of the output must match
expected() {
    cat <<'EXPECTED'
aarch64-boot|1024 machine.dtb|^RAM *0x40000000 \+ 0x40000000$
acpi|dsdt.aml|^FACP at 0xe0100
base||^tick 3$
base|virtual|^tick 3$
block|disk.img|^read back: 0$
char|file=char.txt hello|^5 bytes sent, 0 dropped$
config|--memory 2G --disk a.img,readonly|"readonly": true
control|version|^vmm [0-9]
devices||^serial: 
devices-core||^after load: 3$
hypervisor||^port 0x80: 42$
jail||^the child: killed by SIGSYS
machine||^0xe0000000 
net|mode=none 0|^0 frames$
pci||^00:05.0 1234:0042, BAR 0 at 0xc0000000, its register says 42$
vhost||^the driver reads 42$
virtio||^the driver reads 42$
virtio-queue||^used: 1 chain, 23 bytes: A REQUEST OF THE DRIVER$
vm-memory||^read back: 0, "hello, guest"$
x86_64-boot|1024|^RAM  *0 \+ 0x40000000$
EXPECTED
}

# run BY PROGRAM ARGUMENTS REGEX
run() {
    local status=0
    # shellcheck disable=SC2086 # arguments are words
    "$2" $3 >"$WORK/out" 2>"$WORK/err" || status=$?
    if ((status == 77)); then
        echo "skipped: $(<"$WORK/err")"
    elif ((status)) || ! grep -qE "$4" "$WORK/out"; then
        wrong "$1: ${2##*/} $3: status $status: $(cat "$WORK/out" "$WORK/err")"
    fi
}

cp -r "$ROOT/docs/examples" "$WORK/examples"
truncate -s 1M "$WORK/disk.img"
cd "$WORK"
quietly cmake -S examples -B cmake -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER=gcc -DCMAKE_C_FLAGS="$flags" -DCMAKE_BUILD_TYPE=Release
quietly cmake --build cmake -j2
for folder in examples/*/; do
    name=$(basename "$folder")
    [[ $'\n'$(expected) = *$'\n'"$name|"* ]] || wrong "example $name is not run by this test"
    PKG_CONFIG_PATH=$prefix/lib/pkgconfig quietly make -C "$folder" CC="$other" CFLAGS="$flags"
done
while IFS='|' read -r name arguments regex; do
    run "CMake, gcc" "$WORK/cmake/$name/$name" "$arguments" "$regex"
    run "pkg-config, ${other##*/}" "$WORK/examples/$name/$name" "$arguments" "$regex"
done < <(expected)

# A library that does not exist is refused with the list.
mkdir wrong
cat >wrong/CMakeLists.txt <<'E2'
cmake_minimum_required(VERSION 3.25)
project(wrong LANGUAGES C)
find_package(vmm REQUIRED COMPONENTS base nonsense)
E2
if cmake -S wrong -B wrong/build -DCMAKE_PREFIX_PATH="$prefix" >"$WORK/log" 2>&1; then
    wrong "find_package(vmm COMPONENTS nonsense) works"
elif [[ $(tr -s ' \n' ' ' <"$WORK/log") != *"no library 'nonsense'; there are: base, vm-memory"* ]]; then
    wrong "find_package(vmm COMPONENTS nonsense) says: $(<"$WORK/log")"
fi
exit $FAILED
