#!/bin/sh
# An image with the three programs, of nothing but Debian's smallest root and our Debian package: runs as the user eps,
# with a root that may be read-only; what a program keeps is in /var/lib/eps, settings are in /etc/eps. As root:
#
#     deploy/debian/build.sh dist
#     deploy/container/build.sh dist/eps_0.1.0-1_amd64.deb eps:0.1.0
#
# Needs mmdebstrap and buildah. APT_OPTIONS are handed to mmdebstrap; SOURCES names a file of apt sources.
set -eu

package=$1
image=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2086 # several options
mmdebstrap --quiet --variant=essential --include=python3.11,adduser,ca-certificates,openssl ${APT_OPTIONS:-} \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --customize-hook="copy-in '$package' /tmp" \
    --customize-hook="chroot \"\$1\" sh -c 'dpkg -i /tmp/*.deb && rm /tmp/*.deb && install -d -o eps -g eps -m 700 /var/lib/eps'" \
    bookworm "$work/root.tar" ${SOURCES:+"$SOURCES"}

container=$(buildah from scratch)
trap 'buildah rm "$container" >/dev/null; rm -rf "$work"' EXIT
buildah add --quiet "$container" "$work/root.tar" / >/dev/null
buildah add --quiet --chmod 755 "$container" "$(dirname "$0")/healthy" /usr/lib/eps/bin/healthy >/dev/null
buildah config --user eps --workingdir /var/lib/eps --volume /var/lib/eps --env STATE_DIRECTORY=/var/lib/eps \
    --env EPS_SETTINGS=/etc/eps/eps.yml --env SD_SETTINGS=/etc/eps/sd.yml --env PROXY_SETTINGS=/etc/eps/proxy.yml \
    --cmd '["eps", "server", "run"]' --stop-signal TERM \
    --healthcheck 'CMD /usr/lib/eps/bin/healthy' --healthcheck-interval 30s --healthcheck-timeout 20s \
    --healthcheck-start-period 60s "$container"
buildah commit --quiet --format docker "$container" "$image"
