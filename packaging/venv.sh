#!/bin/sh
# Install Mailroom and one set of extras of pyproject.toml in .venv: packaging/venv.sh sandbox|dev|fuzz
# Quick if they are there already. If Debian's package python3-venv is missing, root gets it by apt-get;
# other users are told what to install.
set -eu

extra=$1
cd "$(dirname "$0")/.."
venv=.venv
ready=$venv/ready-$extra

say() { printf 'mailroom: %s\n' "$*" >&2; }

find_python() {
    for python in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    say "needs Python 3.11 or newer; on Debian 12 and later: apt-get install python3 python3-venv"
    return 1
}

get_venv_package() {
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "needs the package $package: sudo apt-get install $package"
        return 1
    fi
    say "installing $package (once)"
    told=$(apt-get -qq update 2>&1 && DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --no-install-recommends "$package" 2>&1) || {
        say "$told"
        return 1
    }
}

make_venv() {
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null || get_venv_package "$python"
    # Start afresh: an old .venv may be incomplete, or link to a Python that is gone.
    "$python" -m venv --clear "$venv"
}

# The installation is up to date if it was made from this folder and the same pyproject.toml.
wanted=$(pwd; cat pyproject.toml)
works=$("$venv/bin/python" -c 'import pip; print("yes")' 2>/dev/null || true)
if [ "$works" = yes ] && [ "$(cat "$ready" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
say "setting up .venv ($extra), once; takes about a minute"
[ "$works" = yes ] || make_venv
PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    "$venv/bin/python" -m pip install -qq --editable ".[$extra]"
printf '%s\n' "$wanted" >"$ready"
