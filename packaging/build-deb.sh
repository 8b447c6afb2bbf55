#!/bin/sh
# Build the Debian package, with its source package, into a folder: packaging/build-deb.sh [dist]
# Where the Build-Depends are installed, any user can build it on the spot. Elsewhere it needs root, and
# is built in a temporary Debian 13 (tests/system/package.py).
set -eu

umask 022
mkdir -p "${1:-dist}"
output=$(cd "${1:-dist}" && pwd)
cd "$(dirname "$0")/.."
project=$(pwd)

say() { printf 'mailroom: %s\n' "$*" >&2; }

build_here() {
    cd "$source"
    # -d: the Build-Depends are there, and a package without machine code needs no compiler.
    dpkg-buildpackage -us -uc -d >&2
    mv ../*mailroom_* "$output"
}

tell_what_is_missing() {
    sudo=$([ "$(id -u)" = 0 ] || echo 'sudo ')
    say "packages to build with are missing: ${sudo}apt-get build-dep ./packaging, then make deb again"
    exit 1
}

can_build_elsewhere() {
    cd "$project"
    python3 -c 'import sys; from tests.system.prepare import obstacle; sys.exit(obstacle() is not None)'
}

build_elsewhere() {
    cd "$project"
    python3 -m tests.system.package "$source" "$output" "$PRETTY_NAME"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$work/mailroom
mkdir "$source"
# The same content makes the same package, whenever it was checked out.
released=$(sed -n '/^ -- /{s/.*>  //p;q}' packaging/debian/changelog)
tar --create --exclude=__pycache__ --mtime="$released" *.md LICENSE cockpit docs mailroom \
    packaging pyproject.toml systemd tests | tar --extract --directory="$source"
mv "$source/packaging/debian" "$source/debian"

PRETTY_NAME='no Debian' ID='' VERSION_ID=''
[ ! -r /etc/os-release ] || . /etc/os-release
if dpkg-checkbuilddeps -I "$source/debian/control" 2>/dev/null; then
    build_here
elif [ "$ID $VERSION_ID" = 'debian 13' ] && ! can_build_elsewhere; then
    tell_what_is_missing
else
    build_elsewhere
fi
ls "$output"/*mailroom_*.deb
