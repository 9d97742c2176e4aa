# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash
#
# Sourced after lib.sh by scripts that take Debian's packages apart: of any suite and architecture, without a change to
# the machine's own apt, which is only read. UPDATE=1 asks the archive again for what is known already.

# The archive this machine uses already: the first URI that serves its own release.
mirror() {
    local codename
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true; } | awk -v suite="$codename" '
        $1 == "deb" { sub(/\[[^]]*\]/, ""); if ($3 == suite) { print $2; exit } }
        $1 == "Types:" { uri = "" }
        $1 == "URIs:" { uri = $2 }
        $1 == "Suites:" { for (i = 2; i <= NF; i++) if ($i == suite) { print uri; exit } }'
}

# apt_private SUITE [ARCH]: makes apt-get and apt-cache work on SUITE alone (amd64, or ARCH), with no package installed.
# /etc/apt/apt.conf.d still counts (proxies); sources and preferences of the machine do not.
apt_private() {
    local suite=$1 arch=${2:-amd64} dir uri
    dir=$BED/apt-$suite
    [[ $arch = amd64 ]] || dir+=-$arch
    export APT_CONFIG=$dir/apt.conf
    [[ ! -e $dir/ok || -n ${UPDATE:-} ]] || return 0
    uri=$(mirror)
    [[ -n $uri ]] || die "no Debian archive found in /etc/apt: add one for this release"
    mkdir -p "$dir"/{lists/partial,cache/archives/partial,none}
    : >"$dir/status"
    echo "deb [arch=$arch signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" \
        >"$dir/sources.list"
    cat >"$APT_CONFIG" <<CONF
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Dir::State "$dir";
Dir::State::status "$dir/status";
Dir::Cache "$dir/cache";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "$dir/none";
Dir::Etc::preferences "$dir/none/preferences";
Dir::Etc::preferencesparts "$dir/none";
CONF
    apt-get -qq update || die "cannot read $suite ($arch) from $uri: is the network there?"
    touch "$dir/ok"
}

# with_dependencies PACKAGE...: these and all that they need, one a line.
with_dependencies() {
    apt-get -qq -s install "$@" | awk '$1 == "Inst" { print $2 }'
}

# unpack DIR PACKAGE...: downloads and unpacks, maintainer scripts are not run.
unpack() {
    local dir=$1 debs deb
    shift
    debs=$(mktemp -d "$BED/debs.XXXXXX")
    (cd "$debs" && apt-get -qq download "$@") || die "cannot download $*"
    for deb in "$debs"/*.deb; do
        dpkg-deb -x "$deb" "$dir"
    done
    rm -rf "$debs"
}
