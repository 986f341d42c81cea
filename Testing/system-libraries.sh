#!/bin/sh
# Debian packages that pip cannot bring: software OpenGL, what Qt links, glyphs. Installed where it may be,
# else the line to run is printed; the tests that need them are skipped then, with the same line.
cd "$(dirname "$0")" || exit 1
packages=$(tr '\n' ' ' < system-libraries.txt)
command -v dpkg-query > /dev/null || exit 0
for package in $packages; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2> /dev/null | grep -q '^installed$' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing && exit 0
fi
echo "For the tests of views and panel run as root:  apt-get install -y --no-install-recommends$missing"
