"""What no file tells and a command that only reads does: addresses, the kernel's log, rules.

Each is one row of shell, and its output is kept in a record as if it were a file below `/cmd`.
None loads a module: rules are listed only where their module is loaded already.
"""

from dirtune.errors import DirtuneError
from dirtune.host import run

IP_ADDR = "/cmd/ip-addr"
IP_RULE = "/cmd/ip-rule"
DMESG = "/cmd/dmesg"
NFT = "/cmd/nft"
IPTABLES = "/cmd/iptables"
QDISC = "/cmd/qdisc"
COMMANDS = {
    IP_ADDR: "ip -o addr show",
    IP_RULE: "ip rule show",
    DMESG: "dmesg | tail -n 5000",
    NFT: "grep -q '^nf_tables ' /proc/modules && nft list ruleset",
    # The file names tables of modules that are loaded, and may be empty.
    IPTABLES: "grep -q . /proc/net/ip_tables_names && iptables-save",
    QDISC: "tc -s qdisc show",
}
SOURCES: tuple[str, ...] = ()
"""No file of a host: a record holds the outputs."""


def script() -> str:
    """Return shell that prints `PATH:line` for every line of every command that succeeds."""
    rows = (
        f"if out=$({{ {command}; }} 2>/dev/null); then "
        f"printf '%s\\n' \"$out\" | sed 's|^|{path}:|'; fi"
        for path, command in COMMANDS.items()
    )
    return "\n".join(("PATH=$PATH:/usr/sbin:/sbin", *rows)) + "\n"


def outputs() -> dict[str, str]:
    """Run the commands here and return what each printed, by its path; absent if it failed."""
    try:
        return parse_outputs(run(("sh", "-c", script())))
    except DirtuneError:  # no shell: as if none of the commands were here
        return {}


def parse_outputs(text: str) -> dict[str, str]:
    """Return the outputs in what `script` printed."""
    found: dict[str, str] = {}
    for row in text.splitlines():
        path, colon, line = row.partition(":")
        if colon and path in COMMANDS:
            found[path] = f"{found.get(path, '')}{line}\n"
    return found
