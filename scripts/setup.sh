#!/usr/bin/env bash
# Makes .venv with pinned dependencies, and installs the system's TurboJPEG library where it is missing
# and may be installed. `setup.sh dev` adds what the tests and checks need, `setup.sh docs` what the
# documentation needs, `setup.sh libraries` makes build/libraries for the benchmarks. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

# Runs a command as root: directly, or through sudo where that asks for no password.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

apt_install() {
  command -v apt-get >/dev/null || return 1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null 2>&1 && return
  as_root apt-get update -qq >/dev/null 2>&1 &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null 2>&1
}

find_python() {
  for name in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$name" ] && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  say "Python 3.11 or newer is needed and was not found; install it, or run make PYTHON=/path/to/python"
  return 1
}

make_venv() {
  local python
  python=$(find_python)
  "$python" -m venv .venv 2>/dev/null && return
  say "the venv module is incomplete; installing python3-venv"
  rm -rf .venv
  apt_install python3-venv || { say "install python3-venv (apt-get install python3-venv) and run make again"; return 1; }
  "$python" -m venv .venv
}

has_turbojpeg() {
  .venv/bin/python -c 'import ctypes.util, sys; sys.exit(ctypes.util.find_library("turbojpeg") is None)'
}

pip_install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$@"; }

install_referees() {
  pip_install --no-deps -r tests/referees.txt 2>/dev/null && return
  grep -v '^#' tests/referees.txt | while read -r referee; do
    pip_install --no-deps "$referee" 2>/dev/null ||
      say "$referee cannot be installed here: the tests that compare with it are skipped"
  done
}

# An environment that sees the packages of .venv below its own, so that torch is not there twice.
make_libraries() {
  local home=build/libraries
  [ -x $home/bin/pip ] || .venv/bin/python -m venv $home
  .venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    >"$($home/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/warmstore.pth"
  local install=("$home/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt)
  "${install[@]}" -r benchmarks/requirements.txt || say "some libraries cannot be installed here: benchmarks leave them out"
  "${install[@]}" --no-deps -r benchmarks/requirements-no-deps.txt || say "MosaicML Streaming cannot be installed here"
}

[ -x .venv/bin/pip ] || make_venv
if [ "${1:-}" = docs ]; then
  say "adding what the documentation needs"
  pip_install -e '.[docs]'
  exit
fi
if [ "${1:-}" = dev ]; then
  say "adding what tests and checks need"
  pip_install -e '.[dev]'
  install_referees
  exit
fi
if [ "${1:-}" = libraries ]; then
  say "making build/libraries for the libraries that benchmarks compare with (a few minutes the first time)"
  make_libraries
  exit
fi
say "installing Python packages into .venv (a few minutes the first time)"
rm -rf warmstore.egg-info # of an older version: Python reads it here before what is installed, and finds no detectors
pip_install -e .
.venv/bin/python scripts/compile_loops.py
if ! has_turbojpeg; then
  say "installing the TurboJPEG library (libturbojpeg0)"
  apt_install libturbojpeg0 || apt_install libturbojpeg || true
  has_turbojpeg || say "TurboJPEG is missing and cannot be installed here: Pillow decodes JPEG instead, 2 to 3" \
    "times slower. Install libturbojpeg0 (Debian) or libturbojpeg (Ubuntu) to change that; 'warmstore doctor' tells."
fi
say "ready"
