#!/bin/sh
# Real clients that some tests want (they say so and are skipped without): installed through apt where root can do it.
set -u
missing=""
for pair in curl:curl jq:jq openssl:openssl node:nodejs chromium:chromium; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed, so some tests are skipped:$missing"
    exit 0
fi
echo "installing:$missing"
# shellcheck disable=SC2086 # a list of words
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing; } >/dev/null 2>&1 ||
    echo "apt could not install all of:$missing"
exit 0
