#!/bin/sh
# What tests/deploy/test_debian_package.py has done in a root of its own, by that root's systemd: the commands of
# docs/howto-install.md, each block of them as a file in /root/blocks, in their order; and what the page says of them is
# looked at. What is found goes line by line to /root/found.
exec > /root/told 2>&1
set -x

found() { echo "$@" >> /root/found; }
pid() { systemctl show --property MainPID --value "$1"; }
states() { systemctl is-active eps eps-sd eps-proxy@public | tr '\n' ' '; }

cd /root
for block in blocks/*; do
    first=$(head -n 1 "$block")
    before="$(pid eps) $(pid eps-sd) $(pid eps-proxy@public)"
    if sh -ex "$block"; then found "$first"; else
        found "FAILED: $first"
        break
    fi
    case "$first" in
    "systemctl enable"*)
        found "running: $(states)"
        EPS_SETTINGS=/etc/eps/admin.yml eps sd submit-records --reset --wait 30 records > /dev/null && found submitted
        for _ in $(seq 60); do
            EPS_SETTINGS=/etc/eps/eps.yml eps ping -n 1 public-proxy-1.ga && found called && break
            sleep 1
        done
        systemctl reload eps && found reloaded
        systemctl restart eps
        found "sockets that outlive it: $(systemctl show --property NFileDescriptorStore --value eps | sed 's/^[1-9][0-9]*$/some/')"
        PYTHONPATH=/root/hostile eps version > /dev/null && found "other people's modules are not loaded"
        ;;
    *--reinstall*)
        for number in 1 2 3; do
            now="$(pid eps) $(pid eps-sd) $(pid eps-proxy@public)"
            [ "$(echo "$before" | cut -d' ' -f$number)" != "$(echo "$now" | cut -d' ' -f$number)" ] && found "restarted $number"
        done
        found "running: $(states)"
        ;;
    "systemctl stop"*) found "running: $(states)" ;;
    "systemctl disable"*)
        [ -e /usr/lib/eps ] || [ -e /usr/bin/eps ] || found "no program is left"
        [ -e /var/lib/eps-sd/records.sqlite ] && [ -e /etc/eps/sd.yml ] && found "what it kept stays"
        ;;
    esac
done
journalctl --no-pager
systemctl poweroff
