"""Read-only commands for facts that no file contains: addresses, the kernel log, filter rules.

Each command is one line of shell, and a record keeps its output as if it were a file below `/cmd`.
No command loads a module: rules are listed only if their kernel module is already loaded. If the
tool or the module is missing, the list is empty.
"""

from collections.abc import Collection

from dirtune.collect import log_messages
from dirtune.collect.frames import OPEN, frames
from dirtune.errors import Exhausted, NotPossible, ParseError, SourceMissing, SourceRefused
from dirtune.host import Host, recorded_text, run

ROOT = "/cmd/"
IP_ADDR = "/cmd/ip-addr"
IP_RULE = "/cmd/ip-rule"
DMESG = "/cmd/dmesg"
NFT = "/cmd/nft"
IPTABLES = "/cmd/iptables"
ARPTABLES = "/cmd/arptables"
QDISC = "/cmd/qdisc"
_ETHTOOL_TEXT = "/cmd/ethtool"
ETHTOOL_TEXTS = f"{_ETHTOOL_TEXT}/[glckSx]/*"
"""Path pattern of ethtool(8)'s outputs: one folder per option, one file per interface in it."""
# The complete kernel log would be most of the transfer. `-k` leaves out what programs wrote to
# /dev/kmsg; the dmesg of busybox and of old systems does not have it.
_LOG = log_messages.words()
COMMANDS = {
    IP_ADDR: "ip -o addr show",
    IP_RULE: "ip rule show",
    DMESG: "said=$(dmesg -k 2>/dev/null || dmesg) || exit 1; "
    f"printf '%s\\n' \"$said\" | grep -aiE '{_LOG}' || :",
    # Without the tool, or without the module on a kernel with modules, no rule can exist.
    NFT: "if ! command -v nft >/dev/null || "
    "{ [ -e /proc/modules ] && ! grep -q '^nf_tables ' /proc/modules; }; "
    "then :; else nft list ruleset; fi",
    # The file lists the tables of loaded modules; only root may read it.
    IPTABLES: "if ! [ -e /proc/net/ip_tables_names ] || "
    'tables=$(cat /proc/net/ip_tables_names) && [ -z "$tables" ]; '
    "then :; else iptables-save; fi",
    ARPTABLES: "if ! [ -e /proc/net/arp_tables_names ] || "
    'tables=$(cat /proc/net/arp_tables_names) && [ -z "$tables" ]; '
    "then :; else arptables-save; fi",
    QDISC: "tc -s qdisc show",
}
_SPELLED = {
    IP_ADDR: "ip -o addr show",
    IP_RULE: "ip rule show",
    DMESG: "dmesg",
    NFT: "nft list ruleset",
    IPTABLES: "iptables-save",
    ARPTABLES: "arptables-save",
    QDISC: "tc -s qdisc show",
}
OUTPUTS = (*COMMANDS, ETHTOOL_TEXTS)
"""Paths of all outputs that a record can hold."""
# A NIC answers in a millisecond; bridges and tunnels refuse, and their outputs are left out. Names
# are only passed as arguments. A NIC named `*` is left out: ethtool(8) would query every NIC.
_ETHTOOL = f"""\
if command -v ethtool >/dev/null; then
  for path in /sys/class/net/*/device /sys/class/net/.[!.]*/device /sys/class/net/..?*/device; do
    name=${{path%/device}}; name=${{name##*/}}
    if [ "$name" = '*' ] || ! [ -e "$path" ]; then continue; fi
    for option in g l c k S x; do
      out=$(ethtool -$option "$name" 2>/dev/null)
      if [ -n "$out" ]; then frame "{_ETHTOOL_TEXT}/$option/$name"; printf '%s\\n' "$out"; fi
    done
  done
fi"""


def script(paths: Collection[str]) -> str:
    """Return a shell script that runs the commands whose output paths are among *paths*.

    For each command that succeeds, the script prints a frame with the output's path as its name.
    `frames.OPEN` must precede the script.
    """
    rows = tuple(
        f"if out=$({{ {command}; }} 2>/dev/null); then frame {path}; printf '%s\\n' \"$out\"; fi"
        for path, command in COMMANDS.items()
        if path in paths
    )
    cards = (_ETHTOOL,) if ETHTOOL_TEXTS in paths else ()
    return "\n".join(("PATH=$PATH:/usr/sbin:/sbin", *rows, *cards))


def outputs(paths: Collection[str]) -> dict[str, str]:
    """Run the commands of *paths* on this machine and return their outputs by path.

    A command that failed has no output in the result.
    """
    try:
        printed = parse_outputs(run(("sh", "-c", f"{OPEN}frame start\n{script(paths)}")))
        return {recorded_text(path): recorded_text(text) for path, text in printed.items()}
    except Exhausted:
        raise
    except (NotPossible, ParseError):  # without a shell, all outputs are missing
        return {}


def output(host: Host, path: str) -> str:
    """Return the command output at *path*; raises `SourceMissing` if the record lacks it."""
    try:
        return host.read(path)
    except (SourceMissing, SourceRefused) as error:
        raise SourceMissing(
            f"the output of {spelled(path)} is missing: the command failed, is not installed on "
            "this host, or was not recorded"
        ) from error


def spelled(path: str) -> str:
    """Return the command whose output a record keeps at *path*, in backquotes for a message."""
    return f"`{_SPELLED[path]}`"


def parse_outputs(text: str) -> dict[str, str]:
    """Return the outputs in *text*, which `script` printed, by their paths."""
    rows = (frame.partition("\0") for frame in frames(text))
    return {kind: output for kind, _, output in rows if kind.startswith(ROOT)}
