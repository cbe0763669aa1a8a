"""Send the one file to a host, use it there, and remove it at the end.

The file goes into a folder that only root can enter, on the first file system that has room and
lets programs be executed. A shell on the host (the holder) receives the file, compares its digest
before anything executes it, and stays until its input ends: when this machine closes the
connection, loses it or dies. Then it removes the folder, unless somebody else uses it:

* `use.PID`: the holder PID, or a dirtune that runs from the folder; it counts while PID lives.
  The file holds the start of the process, which tells it from a later one with the same id.
* `watch.JOURNAL`: the watchdog of a change that waits to be confirmed. It removes the folder
  itself (`change/borrowed.py`).
* `kept`: `--keep` left the folder for later commands.

So a dirtune that undoes its changes after the connection was lost keeps its files. A holder first
removes the folders that killed holders or a reboot left. A kept file is used only from /run and
/root: in a folder where all users may write, another user could exchange it after its digest was
compared.
"""

import re
import shlex

from dirtune import sending
from dirtune.errors import NodeUnreachable, NotPossible
from dirtune.remote import one_file
from dirtune.remote.node import Node, Process
from dirtune.remote.one_file import OneFile

_FOLDER = re.compile(r"(/[a-z]{1,16}){1,3}/dirtune-push\.[A-Za-z0-9]{6,16}", re.ASCII)
_PLACES = "/run /var/tmp /dev/shm /tmp /root"
_MORE_KIB = 4096
_MACHINE_S = 20
_LOOK_S = 60
"""Seconds for the look at the folders of a host, and for the digest of the file there."""
_LONGEST = 300
STARTED = (
    "started() { { read -r stat </proc/$1/stat; } 2>/dev/null || return; set -f; "
    'set -- ${stat##*") "}; set +f; echo "${20}"; }; '
)
"""Shell code of a function that prints when process $1 started, in clock ticks since boot."""
_HOLDER = r"""
umask 077; LC_ALL=C; export LC_ALL
say() { printf '%s\n' "$*"; }
sha256() {
    { if command -v sha256sum >/dev/null; then sha256sum <"$1"
    elif command -v openssl >/dev/null; then openssl dgst -sha256 -r <"$1"
    elif command -v shasum >/dev/null; then shasum -a 256 <"$1"
    elif command -v busybox >/dev/null; then busybox sha256sum <"$1"
    else python3 -c 'import hashlib, sys
print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())' <"$1"
    fi; } 2>/dev/null | { read -r sum rest; say "$sum"; }
}
running() {
    for one in "$1"/use.*; do
        now=$(started "${one##*.}")
        # A dirtune that has just begun has not written its start yet.
        if [ -n "$now" ] && { [ ! -s "$one" ] || [ "$now" = "$(cat "$one")" ]; }; then return 0; fi
    done
    return 1
}
needed() {
    [ ! -e "$1/kept" ] || return 0
    for one in "$1"/watch.*; do [ ! -e "$one" ] || return 0; done
    running "$1"
}
leave() {
    [ -n "$folder" ] || return
    rm -f "$folder/use.$$"
    left=600
    while [ "$left" -gt 0 ] && running "$folder"; do sleep 1; left=$((left - 1)); done
    needed "$folder" || rm -rf "$folder"
}
folder=; refusals=; boot=$(cat /proc/sys/kernel/random/boot_id)
trap leave EXIT; trap 'exit 1' HUP INT TERM PIPE
for old in $(for place in $places; do say "$place/dirtune-push.*"; done); do
    [ -d "$old" ] && [ ! -L "$old" ] && [ -O "$old" ] && [ -e "$old/boot" ] || continue
    if [ "$(cat "$old/boot")" != "$boot" ]; then rm -rf "$old"
    elif ! needed "$old"; then rm -rf "$old"
    elif [ "$kept$folder" = yes ] && [ -e "$old/kept" ]; then
        case $old in
        /run/*|/root/*) [ "$(sha256 "$old/dirtune")" != "$digest" ] || folder=$old ;;
        esac
    fi
done
if [ -n "$folder" ]; then
    started $$ >"$folder/use.$$"
    [ "$keep" = yes ] || rm -f "$folder/kept"
    say "ready $folder"; cat >/dev/null; exit
fi
[ "$send" = yes ] || { say none; exit; }
no() { refusals="$refusals, $*"; rm -rf "$folder"; folder=; }
for place in $places; do
    [ -d "$place" ] || continue
    folder=$(mktemp -d "$place/dirtune-push.XXXXXXXX" 2>/dev/null) ||
        { no "$place cannot be written to"; continue; }
    free=$(df -Pk "$folder" 2>/dev/null | { read -r row; read -r d a u free rest; say "$free"; })
    [ "${free:-$need}" -ge "$need" ] || { no "$place has $((free / 1024)) MB free"; continue; }
    { started $$ >"$folder/use.$$" && say "$boot" >"$folder/boot" &&
        say '#!/bin/sh' >"$folder/try" && chmod 700 "$folder/try"; } 2>/dev/null ||
        { no "$place cannot be written to"; continue; }
    "$folder/try" 2>/dev/null && break
    no "$place lets no program be executed"
done
[ -n "$folder" ] || { say "room ${refusals#, }"; exit; }
say "send $folder"
head -c "$size" >"$folder/dirtune" 2>/dev/null
[ "$(wc -c <"$folder/dirtune")" -eq "$size" ] || { say "short $folder"; exit; }
sum=$(sha256 "$folder/dirtune")
[ -n "$sum" ] || { say unknown; exit; }
[ "$sum" = "$digest" ] || { say damaged; exit; }
chmod 700 "$folder/dirtune"
[ "$keep" != yes ] || true >"$folder/kept"
say "ready $folder"
cat >/dev/null
"""


async def push(node: Node) -> str:
    """Send the one file to *node*, and return the folder that holds it there.

    The file stays until the node is closed. If the host has a file that was kept there, that file
    is used. Raises `NotPossible`, with the remedy, if there is no file for the host, if the host
    has no place for it, or if it arrives damaged; nothing is then left there.
    """
    chosen = sending.chosen()
    machine = (await node.run(("uname", "-m"), timeout_s=_MACHINE_S)).strip()[:_LONGEST]
    try:
        file = one_file.find(machine)
    except NotPossible as error:
        raise NotPossible(f"{node.name}: {error}") from error
    holder = await node.start(_script(file, chosen), guarded=False)
    try:
        word, folder = await _answer(node, holder)
        if word == "send":
            chosen.say(f"{node.name}: sending dirtune, {len(file.data) / 1e6:.0f} MB, to {folder}")
            await _copy(node, holder, file.data)
            word, folder = await _answer(node, holder)
        _require_ready(node, word, folder, _need_kib(file) // 1024)
    except BaseException:
        await holder.hang_up()
        raise
    node.attach(holder)
    return folder


def _need_kib(file: OneFile) -> int:
    return (len(file.data) + file.unpacked_bytes) // 1024 + _MORE_KIB


def _script(file: OneFile, chosen: sending.Sending) -> str:
    values = {
        "digest": file.digest,
        "size": str(len(file.data)),
        "need": str(_need_kib(file)),
        "places": _PLACES,
        **{name: "yes" if getattr(chosen, name) else "" for name in ("send", "kept", "keep")},
    }
    rows = (f"{name}={shlex.quote(value)}" for name, value in values.items())
    return "\n".join((*rows, STARTED, _HOLDER))


async def _copy(node: Node, holder: Process, data: bytes) -> None:
    try:
        await holder.send_bytes(data)
    except NodeUnreachable:
        node.check_alive()  # else the holder has ended, and its answer says why


async def _answer(node: Node, holder: Process) -> tuple[str, str]:
    """Return the holder's next word, and the folder or the text that follows."""
    line = await holder.line(timeout_s=_LOOK_S)
    word, _, rest = line.partition(" ")
    if word in {"send", "ready", "short"} and not _FOLDER.fullmatch(rest):
        raise NotPossible(f"{node.name}: the shell there did not answer as expected.")
    return word, rest


def _require_ready(node: Node, word: str, rest: str, need_mib: int) -> None:
    if word != "ready":
        raise NotPossible(f"{node.name}: {_refusal(word, rest, need_mib)}.")


def _refusal(word: str, rest: str, need_mib: int) -> str:
    match word:
        case "room":
            return (
                f"there is no place for dirtune, which needs {need_mib} MB: {rest[:_LONGEST]}. "
                "Free that much in /var/tmp, or install the package of dirtune there"
            )
        case "short":
            return f"the file system of {rest} was full before the one file was complete"
        case "damaged":
            return (
                "the one file arrived damaged: its SHA-256 differs, so it was not executed. "
                "Run the command again"
            )
        case "unknown":
            return (
                "no program is there that can check the one file. Install sha256sum, openssl, "
                "shasum, busybox or python3"
            )
        case "none":
            return "no file that --keep left is there. Leave out --no-push"
    return "the shell there did not answer as expected"
