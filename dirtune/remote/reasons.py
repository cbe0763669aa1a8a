"""Turn the error messages of ssh(1) into one plain sentence with the remedy.

ssh has one exit status, 255, for all its failures, so its own text is the only sign of the cause.
"""

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
        "the host key of {0} has changed. If the host was reinstalled, remove its old key",
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
        "the host key is not in known_hosts. Connect once by hand and compare the key",
    ),
    (_CONNECT, "connecting to {0} port {1} failed: {2}"),
    (
        re.compile(r"open failed: connect failed: open failed"),
        "the server accepted the login but opened no session. Set its MaxSessions to 1 or more",
    ),
    (
        re.compile(r"open failed: administratively prohibited"),
        "the jump host forwards no connections. Set AllowTcpForwarding to yes there",
    ),
    (
        re.compile(r"open failed: connect failed: (.+)"),
        "the jump host could not connect to the host: {0}",
    ),
)
"""Patterns of ssh's messages, and the sentences that replace them. Messages about the first hop
come first."""


def key_changed(text: str) -> bool:
    """Return whether *text* reports a changed host key."""
    return _CHANGED.search(text) is not None


def reason(text: str, locked: Sequence[str] = (), known: str = "") -> str:
    """Return the reason why ssh failed, as a sentence with the remedy.

    *text* is what ssh printed, *locked* are the private keys that need a passphrase, and *known*
    is the host's name in known_hosts.
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
            "the connection was closed before the login: sshd is overloaded (MaxStartups) or "
            "refuses this address, or a ProxyCommand failed"
        )
    rows = (row for row in _rows(text) if not _EARLY.match(row))
    return next(rows, "ssh failed and printed no reason").rstrip(".")


def closed_early(text: str) -> bool:
    """Return whether the server hung up before it sent its key, as an overloaded sshd does."""
    rows = _rows(text)
    return bool(rows) and all(map(_EARLY.match, rows))


def last_line(text: str) -> str:
    """Return the last line that is not blank, shortened; empty if all lines are blank."""
    rows = [row.strip() for row in text.splitlines() if row.strip()]
    return rows[-1][:_LONGEST].rstrip(".") if rows else ""


def _rows(text: str) -> list[str]:
    """Return the lines that are not blank, without the warning of an ssh that lacks GSSAPI."""
    rows = (row.strip() for row in text.splitlines())
    return [row for row in rows if row and not row.endswith(_NO_GSSAPI)]


def _denied(denied: "re.Match[str]", locked: Sequence[str]) -> str:
    who = denied[1]
    methods = set(denied[2].split(","))
    if locked:
        keys = " and ".join(locked)
        add = shlex.join(("ssh-add", locked[0]))
        need = "needs" if len(locked) == 1 else "need"
        return f"{who}no key was accepted, and {keys} {need} a passphrase. Run: {add}"
    if methods & _ASKING and "publickey" not in methods:
        return f"{who}the server asks for a password, which dirtune never gives. Set up a key"
    if methods & _ASKING:
        return (
            f"{who}no key was accepted, and the server asks for a password instead, which dirtune "
            "never gives. Set up a key"
        )
    return f"{who}no key of the agent or the ssh_config was accepted. Set up a key"
