#!/bin/sh
# dpkg passes "remove" or "upgrade"; rpm passes the number of versions that stay.
case "$1" in remove | 0) ;; *) exit 0 ;; esac
[ ! -d /run/systemd/system ] || systemctl --no-reload disable --now dirtune-audit.timer || true
