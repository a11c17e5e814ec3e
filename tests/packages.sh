#!/bin/sh
# Real programs that tests or the benchmark want (they say so, and do without): installed through apt where root can do it.
#
#   tests/packages.sh COMMAND:PACKAGE …
set -u
PATH="$PATH:/usr/sbin"
missing=""
for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed, and left out for that reason:$missing"
    exit 0
fi
echo "installing:$missing"
# shellcheck disable=SC2086 # a list of words
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing; } >/dev/null 2>&1 ||
    echo "apt could not install all of:$missing"
exit 0
