#!/usr/bin/env bash
# install_packages.sh [LIST]: installs the Debian packages of a list (default packages.txt) beside this script that are missing.
# Prints nothing and needs neither network nor root when none is.
set -euo pipefail

mapfile -t wanted < <(grep -v -e '^#' -e '^$' "$(dirname "$0")/${1:-packages.txt}")

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "[setup] this machine has no apt-get; install the equivalents of: ${wanted[*]}; then run the cmake commands of CONTRIBUTING.md" >&2
  exit 1
fi

# dpkg-query fails when one package is unknown; it lists the others all the same.
installed=$(dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qxF "$package installed" <<<"$installed" || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "[setup] packages are missing and there is no sudo; run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "[setup] installing ${#missing[@]} Debian packages: ${missing[*]}" >&2
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >&2; }
# An old package list may still do: whether it does is for the installation to say.
apt update || echo "[setup] apt-get update failed; trying the package list of this machine" >&2
if ! apt install -y --no-install-recommends "${missing[@]}"; then
  echo "[setup] apt-get could not install: ${missing[*]}; see its message above" >&2
  exit 1
fi
