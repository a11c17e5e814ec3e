#!/bin/sh
# A Debian package with everything in it: /usr/bin/eps, eps-sd and eps-proxy, their libraries from the lock file with
# hashes in /usr/lib/eps, units of systemd, manual pages. Usage, in the repository's root:
#
#     deploy/debian/build.sh FOLDER        (make deb: dist)
#
# DEBFULLNAME and DEBEMAIL say who maintains the package: whoever builds it. Python must be the distribution's own, the one that the package is to run with. It prints the package's path.
set -eu

here=$(dirname "$0")
out=$1
python=${DEBIAN_PYTHON:-/usr/bin/python3.11}
pip=${PIP:-.venv/bin/python -m pip}
maintainer="${DEBFULLNAME:-eps} <${DEBEMAIL:-eps@example.org}>"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)-1
architecture=$(dpkg --print-architecture)
# What is packed has the time of the last change, so that the same sources give the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
umask 022
lib=$root/usr/lib/eps

# An environment of the distribution's Python. Its own scripts, which name the folder that it was made in, are not packed.
"$python" -m venv --without-pip --symlinks "$lib"
install="$pip --python $lib --disable-pip-version-check install --quiet --no-deps --no-compile"
$install --require-hashes -r requirements.lock
$install --no-build-isolation .
find "$lib/bin" -mindepth 1 ! -name 'python*' -delete
rm -rf "$lib/include" "$lib/lib64" "$lib/.gitignore"
sed -i "/^command = /d" "$lib/pyvenv.cfg"
# What pip would need to remove them again (dpkg does that), with hashes of those scripts.
find "$lib" -path '*.dist-info/*' \( -name RECORD -o -name direct_url.json -o -name REQUESTED -o -name INSTALLER \) -delete
for program in eps sd proxy; do
    printf '#!/usr/lib/eps/bin/python -I\nfrom eps.programs.entry import %s\n\n%s()\n' "$program" "$program" > "$lib/bin/$program"
    chmod 755 "$lib/bin/$program"
done

# Debian has another program sd.
mkdir -p "$root/usr/bin" "$root/usr/share/man/man1"
for pair in eps:eps eps-sd:sd eps-proxy:proxy; do
    ln -s "../lib/eps/bin/${pair#*:}" "$root/usr/bin/${pair%:*}"
    "$python" -I -c "import sys; sys.path.insert(0, '$(echo "$lib"/lib/python*/site-packages)'); sys.argv[:] = ['${pair#*:}', 'man']; from eps.programs.entry import ${pair#*:} as program; program()" |
        sed "1s/.*/.TH $(echo "${pair%:*}" | tr '[:lower:]' '[:upper:]') 1/" | gzip -9n > "$root/usr/share/man/man1/${pair%:*}.1.gz"
done
# Wheels have marked files executable that nobody starts.
find "$lib/lib" -type f -perm /111 -exec chmod a-x {} +
find "$lib/lib" -type f -name '*.py' -exec sed -i '1{/^#!/d}' {} +
find "$root" -name __pycache__ -prune -exec rm -rf {} +

mkdir -p "$root/etc/eps" "$root/lib/systemd/system" "$root/usr/share/doc/eps" "$root/usr/share/lintian/overrides" "$root/DEBIAN"
for unit in deploy/systemd/*; do
    sed -e 's#/opt/eps/bin/#/usr/lib/eps/bin/#' -e 's#man:\(sd\|proxy\)(1)#man:eps-\1(1)#' "$unit" > "$root/lib/systemd/system/$(basename "$unit")"
done
cp "$here/copyright" "$root/usr/share/doc/eps/copyright"
gzip -9nc CHANGELOG.md > "$root/usr/share/doc/eps/changelog.gz"
printf 'eps (%s) unstable; urgency=medium\n\n  * What is new is in changelog.gz.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" |
    gzip -9n > "$root/usr/share/doc/eps/changelog.Debian.gz"
cp "$here/lintian-overrides" "$root/usr/share/lintian/overrides/eps"
for script in postinst prerm postrm; do install -m 755 "$here/$script" "$root/DEBIAN/$script"; done
sed -e "s/@MAINTAINER@/$maintainer/" -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$(du -sk "$root" | cut -f1)/" "$here/control" > "$root/DEBIAN/control"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0r touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
mkdir -p "$out"
dpkg-deb --root-owner-group --build "$root" "$out/eps_${version}_$architecture.deb" >/dev/null
echo "$out/eps_${version}_$architecture.deb"
