"""Other texts about a director's table than `ipvsadm -Sn`: its listing, and keepalived.conf. Pure.

Format: print_title() and print_service_entry() of ipvsadm.c (ipvsadm 1.31). A listing has neither
the type of a tunnel nor the forwarding method of a local real server.
"""

import re
from collections.abc import Iterator

from dirtune.errors import ParseError

_TITLE = "IP Virtual Server version"
_COUNTERS = re.compile(
    r"Prot\s+LocalAddress:Port\s+(?:Conns|CPS|uthreshold|Forward)\b", re.IGNORECASE
)
_KEEPALIVED = re.compile(
    r"^[ \t]*(?:@\S+[ \t]+)?(?:include[rmwba]?[ \t]|~SEQ|~LST|\$\w+=|"
    r"(?:virtual_server(?:_group)?|vrrp_\w+|global_defs|static_\w+)\b)",
    re.M,
)
_PROTOCOLS = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service", "FWM": "-f"}
_METHODS = {"Masq": "-m", "Route": "-g"}
_LISTED = {"persistent": "-p", "mask": "-M", "pe": "--pe"}


def as_rules(text: str) -> str:
    """Return the output of `ipvsadm -Ln` as `ipvsadm -Sn` writes it, and other texts unchanged.

    Each line of a listing becomes one line. Raises `ParseError` if a listing lacks facts that a
    table needs.
    """
    rows = text.splitlines()
    start = next((n for n, row in enumerate(rows) if row.strip()), 0)
    if rows and rows[start].startswith(_TITLE):
        return "".join(f"{row}\n" for row in _rules(rows, start))
    return text


def is_keepalived(text: str) -> bool:
    """Whether *text* is a keepalived.conf(5), not an output of ipvsadm(8)."""
    return bool(_KEEPALIVED.search(text))


def _rules(rows: list[str], start: int) -> Iterator[str]:
    service: tuple[str, ...] | None = None
    for number, row in enumerate(rows, 1):
        words = row.split()
        if number <= start + 1 or not words or words[:2] == ["->", "RemoteAddress:Port"]:
            yield ""
        elif words[0] == "Prot":
            if _COUNTERS.match(row):
                raise _lacking(number, "it has counters in place of schedulers and methods")
            yield ""
        elif words[0] == "->" and service:
            yield " ".join(("-a", *service, *_destination(number, words)))
        elif words[0] in _PROTOCOLS and len(words) > 2:
            service, options = _service(words)
            yield " ".join(("-A", *service, *options))
        else:
            raise _lacking(number, f"{row.strip()!r} is neither a service nor a real server")


def _service(words: list[str]) -> tuple[tuple[str, ...], list[str]]:
    named = [_PROTOCOLS[words[0]], words[1]]
    left = words[2:]
    if left[0] == "IPv6":
        named.append("-6")
        left = left[1:]
    options = ["-s", left[0]]
    rest = iter(left[1:])
    for word in rest:
        if word == "ops":
            options.append("-o")
        elif word.startswith("("):
            options += ("-b", word.strip("()"))
        else:
            options += (_LISTED.get(word, word), next(rest, ""))
    return tuple(named), options


def _destination(number: int, words: list[str]) -> tuple[str, ...]:
    if len(words) < 4 or words[2] not in _METHODS:
        what = words[2] if len(words) > 2 else "a short row"
        raise _lacking(number, f"a real server with {what} does not show its whole settings")
    return ("-r", words[1], _METHODS[words[2]], "-w", words[3])


def _lacking(number: int, why: str) -> ParseError:
    return ParseError(
        f"line {number}",
        f"This is a listing of ipvsadm, and {why}. Give the rules instead: ipvsadm -Sn > FILE",
    )
