"""Turn what ssh(1) printed when it failed into one plain sentence with the remedy."""

import re
import shlex
from collections.abc import Sequence

_LONGEST = 300
# A far host may have written some of it: no pattern takes more than linear time, and none of it
# goes into a command for a person.
_ROWS = 40
_DENIED = re.compile(r"^(.{0,200}?)Permission denied \(([\w,.@-]{1,200})\)", re.MULTILINE)
_NO_GSSAPI = 'Unsupported option "gssapidelegatecredentials"'
_ASKING = frozenset({"password", "keyboard-interactive"})
_EARLY = re.compile(
    r"(kex|ssh)_exchange_identification: |Connection (closed|reset) by "
    r"|banner exchange: .{0,200}(Broken pipe|Connection reset by peer)$"
)
_CONNECT = re.compile(r"connect to host (\S+) port (\d+): (.+)")
_CHANGED = re.compile(r"Host key for (\S+) has changed")
_SENTENCES = (
    (
        _CHANGED,
        "the host key of {0} has changed. If it was installed anew, remove the old one",
    ),
    (
        re.compile(r"No (?:\S+ )?host key is known for (\S+)"),
        "the host key of {0} is not in known_hosts. Connect once by hand and compare the key",
    ),
    (
        re.compile(r"sign_and_send_pubkey: signing failed for (\S+ \S+).*: (.+)"),
        "the SSH agent did not sign with {0}: {1}. Unlock the agent",
    ),
    (
        re.compile(r"Could not resolve hostname (\S+):"),
        "the name {0} does not resolve. Check its spelling, or DNS",
    ),
    (
        re.compile(r"Host key verification failed"),
        "its host key is not in known_hosts. Connect once by hand and compare the key",
    ),
    (_CONNECT, "connecting to {0} port {1} failed: {2}"),
    (
        re.compile(r"open failed: connect failed: open failed"),
        "the server let us in but opens no session. Its MaxSessions must be 1 or more",
    ),
    (
        re.compile(r"open failed: administratively prohibited"),
        "its jump host forwards no connections. AllowTcpForwarding must be yes there",
    ),
    (
        re.compile(r"open failed: connect failed: (.+)"),
        "its jump host could not connect to it: {0}",
    ),
)
"""Patterns of ssh's messages and their meaning; the sentence about the first hop comes first."""


def key_changed(text: str) -> bool:
    """Tell whether *text* says that a host key has changed."""
    return _CHANGED.search(text) is not None


def reason(text: str, locked: Sequence[str] = (), known: str = "") -> str:
    """Return why ssh failed.

    *locked* are the private keys that need a passphrase, *known* is the host in known_hosts.
    """
    text = "\n".join(row[:_LONGEST] for row in text.splitlines()[-_ROWS:])
    if denied := _DENIED.search(text):
        return _denied(denied, locked)
    for pattern, sentence in _SENTENCES:
        if match := pattern.search(text):
            why = sentence.format(*(part.strip() for part in match.groups()))
            own = pattern is _CHANGED and match[1] == known
            return f"{why}: {shlex.join(('ssh-keygen', '-R', known))}" if own else why
    if closed_early(text):
        return (
            "the connection was closed before the login, by an sshd that is crowded (MaxStartups) "
            "or does not let us in, or by a ProxyCommand that failed"
        )
    rows = (row for row in _rows(text) if not _EARLY.match(row))
    return next(rows, "ssh failed and printed no reason").rstrip(".")


def closed_early(text: str) -> bool:
    """Tell whether a server hung up before it showed its key, as a crowded sshd does."""
    rows = _rows(text)
    return bool(rows) and all(map(_EARLY.match, rows))


def last_line(text: str) -> str:
    """Return the last line that holds text, shortened; empty if there is none."""
    rows = [row.strip() for row in text.splitlines() if row.strip()]
    return rows[-1][:_LONGEST].rstrip(".") if rows else ""


def _rows(text: str) -> list[str]:
    """Return the lines that hold text, without the complaint of an ssh that lacks GSSAPI."""
    rows = (row.strip() for row in text.splitlines())
    return [row for row in rows if row and not row.endswith(_NO_GSSAPI)]


def _denied(denied: "re.Match[str]", locked: Sequence[str]) -> str:
    who = denied[1]
    methods = set(denied[2].split(","))
    if locked:
        keys = " and ".join(locked)
        add = shlex.join(("ssh-add", locked[0]))
        return f"{who}no key was accepted, and {keys} needs a passphrase. Run: {add}"
    if methods & _ASKING and "publickey" not in methods:
        return f"{who}the server asks for a password, which dirtune never gives. Set up a key"
    if methods & _ASKING:
        return (
            f"{who}no key was accepted, and the server asks for a password instead, which dirtune "
            "never gives. Set up a key"
        )
    return f"{who}no key of the agent or the ssh_config was accepted. Set up a key"
