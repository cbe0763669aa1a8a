"""Settings of the clients and real servers of 2001, their equals today, and the reasons. Pure.

O'Rourke and Keefe, "Performance Evaluation of Linux Virtual Server", LISA 2001, sections 4 and 5.
Nothing is set here: half of it is the default by now, and some would do harm. Each preset reads
what its node has and says whether that will do; what will not comes with the command for it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dirtune.analyse.run import Role

_BUFFERS = ("rmem_max", "rmem_default", "wmem_max", "wmem_default")
_LARGE_BYTES = 5242880
_DESCRIPTORS = 100_000
_BACKLOG = 4096
_CONNECTIONS = 1500
_LONGEST = 100
"""Characters of a value that are shown."""
# Of nginx, where no directive says otherwise (ngx_core_module, ngx_http_core_module).
_NGINX = {
    "access_log": "logs/access.log",
    "error_log": "logs/error.log error",
    "worker_connections": "512",
    "worker_processes": "1",
    "keepalive_timeout": "75s",
    "backlog": "511",
}

SCRIPT = r"""
for name in fs/file-max net/ipv4/ip_local_port_range net/core/somaxconn \
  net/ipv4/tcp_max_syn_backlog net/core/rmem_max net/core/rmem_default net/core/wmem_max \
  net/core/wmem_default; do
  [ -r /proc/sys/$name ] && printf '%s %s\n' "$name" "$(cat /proc/sys/$name)"
done
echo "open-files $(ulimit -Sn)"
for pid in /proc/[0-9]*; do
  words=$({ tr '\0' ' ' <$pid/cmdline; } 2>/dev/null)
  case $words in 'nginx: master process'*) ;; *) continue ;; esac
  # Anybody can call a process so: what it names is read where root, or who asks, runs it.
  [ -O "$pid" ] || [ "$(stat -c %u "$pid" 2>/dev/null)" = 0 ] || continue
  set -f; set -- $words; set +f
  conf=/etc/nginx/nginx.conf
  while [ $# -gt 0 ]; do [ "$1" = -c ] && conf=$2; shift; done
  more=
  [ "$conf" != /etc/nginx/nginx.conf ] ||
    more='/etc/nginx/conf.d/*.conf /etc/nginx/sites-enabled/*'
  printf 'nginx-runs %s\n' "$conf"
  for file in "$conf" $more; do
    [ -f "$file" ] && head -c 1000000 -- "$file" 2>/dev/null && echo
  done | sed 's/^/nginx /'
done
true
"""
"""POSIX shell that prints what the presets look at; it only reads."""


class Seen(NamedTuple):
    """The output of `SCRIPT` on one node."""

    values: Mapping[str, str]
    """By the name of a sysctl's path below /proc/sys, and `open-files`."""
    nginx: str | None
    """The configuration of the nginx that runs there; None if none does."""


class Verdict(NamedTuple):
    """One setting of one node."""

    now: str | None
    """None if the node does not say."""
    will_do: bool | None
    """Whether it is as it should be; None where it is for a person to say."""


class Judged(NamedTuple):
    """A preset on a node."""

    preset: "Preset"
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Preset:
    """A setting of the paper's, and what has become of it."""

    setting: str
    roles: frozenset[Role]
    """Client, real server or both."""
    paper: str
    today: str
    why: str
    judge: Callable[[Seen], Verdict]
    command: str = ""
    """What sets it, where something is to be set."""


def parse(text: str) -> Seen:
    """Read what `SCRIPT` printed."""
    values: dict[str, str] = {}
    conf: list[str] | None = None
    for row in text.split("\n"):  # a text may hold what else parts lines in Python
        name, _, rest = row.partition(" ")
        if name == "nginx-runs":
            conf = conf or []
        elif name == "nginx" and conf is not None:
            conf.append(rest.partition("#")[0])
        elif name:
            values[name] = " ".join(rest.split())[:_LONGEST]
    return Seen(values, None if conf is None else "\n".join(conf))


def judged(roles: frozenset[Role], seen: Seen) -> Iterator[Judged]:
    """Yield every preset of a node that has *roles* with how it stands to it."""
    for preset in PRESETS:
        if roles & preset.roles:
            yield Judged(preset, _verdict(preset, seen))


def _verdict(preset: Preset, seen: Seen) -> Verdict:
    try:
        return preset.judge(seen)
    except (LookupError, ValueError):  # what no kernel and no nginx says
        return Verdict(None, None)


def _directives(conf: str) -> Iterator[list[str]]:
    """Yield the words of each directive in a configuration of nginx."""
    parts = re.split(r"([;{}])", conf)
    for text, end in zip(parts[::2], parts[1::2], strict=False):
        if end == ";" and (words := text.split()):
            yield words


def _at_least(name: str, least: int) -> Callable[[Seen], Verdict]:
    def judge(seen: Seen) -> Verdict:
        now = seen.values.get(name)
        if now is None:
            return Verdict(None, None)
        # A limit, or file-max since systemd raised it, may be no number that is small.
        return Verdict(now, now == "unlimited" or int(now) >= least)

    return judge


def _ports(seen: Seen) -> Verdict:
    now = seen.values.get("net/ipv4/ip_local_port_range")
    return Verdict(now, None if now is None else int(now.split()[0]) <= 1024)


def _buffers(seen: Seen) -> Verdict:
    known = [seen.values.get(f"net/core/{name}") for name in _BUFFERS]
    if None in known:
        return Verdict(None, None)
    defaults = [int(value or 0) for value in (known[1], known[3])]
    return Verdict(" ".join(map(str, known)), max(defaults) < _LARGE_BYTES)


def _nginx(name: str, good: Callable[[str], bool | None]) -> Callable[[Seen], Verdict]:
    def judge(seen: Seen) -> Verdict:
        if seen.nginx is None:
            return Verdict(None, None)
        found = next((w[1:] for w in _directives(seen.nginx) if w[0] == name and w[1:]), None)
        now = " ".join(found)[:_LONGEST] if found else f"{_NGINX[name]} (nginx's own)"
        return Verdict(now, good(now.removesuffix(" (nginx's own)")))

    return judge


def _backlog(seen: Seen) -> Verdict:
    if seen.nginx is None:
        return Verdict(None, None)
    words = (w for words in _directives(seen.nginx) if words[0] == "listen" for w in words[1:])
    found = [int(w.removeprefix("backlog=")) for w in words if w.startswith("backlog=")]
    now = min(found) if found else int(_NGINX["backlog"])
    return Verdict(str(now), now >= _BACKLOG)


_CLIENT, _SERVER = frozenset({Role.CLIENT}), frozenset({Role.REAL_SERVER})

PRESETS = (
    Preset(
        "open files",
        _CLIENT,
        "ulimit -n 100000",
        f"{_DESCRIPTORS} or more",
        "each connection is a descriptor, and one that waits for its time-out holds it: rate x "
        "time-out and 100 are needed. httperf ends at 1,024 all the same (select(2)): h2load "
        "does not.",
        _at_least("open-files", _DESCRIPTORS),
        f"ulimit -n {_DESCRIPTORS}",
    ),
    Preset(
        "fs.file-max",
        _CLIENT | _SERVER,
        "150000",
        "150000 or more",
        "the limit of all processes together; kernels set it by their memory, far above this. "
        "fs.inode-max, 32768 beside it, is gone since Linux 2.4.",
        _at_least("fs/file-max", 150_000),
        "sysctl -w fs.file-max=150000",
    ),
    Preset(
        "net.ipv4.ip_local_port_range",
        _CLIENT,
        "1024 and up",
        "1024 65535",
        "a port waits 60 s before it is used again, so 28,232 ports, the default, are 470 "
        "connections/s of one address to one VIP; 64,512 are 1,075.",
        _ports,
        "sysctl -w 'net.ipv4.ip_local_port_range=1024 65535'",
    ),
    Preset(
        "net.core.{rmem,wmem}_{max,default}",
        _CLIENT | _SERVER,
        "5242880 all four",
        "leave the defaults",
        "TCP sizes its buffers by tcp_rmem and tcp_wmem, which these do not touch, and by itself "
        "since Linux 2.6.7; a page of 628 bytes fits any. 5 MB by default is memory that UDP "
        "and raw sockets may take, each.",
        _buffers,
    ),
    Preset(
        "net.core.somaxconn",
        _SERVER,
        "not set (128 then)",
        f"{_BACKLOG} or more",
        "the queue of connections that are to be accepted is never longer than this; 4096 is the "
        "default since Linux 5.4.",
        _at_least("net/core/somaxconn", _BACKLOG),
        f"sysctl -w net.core.somaxconn={_BACKLOG}",
    ),
    Preset(
        "net.ipv4.tcp_max_syn_backlog",
        _SERVER,
        "not set",
        "1024 or more",
        "half-open connections beyond it are dropped or get cookies; kernels set it by memory.",
        _at_least("net/ipv4/tcp_max_syn_backlog", 1024),
        "sysctl -w net.ipv4.tcp_max_syn_backlog=4096",
    ),
    Preset(
        "nginx: listen backlog",
        _SERVER,
        "Apache's own, 511",
        f"backlog={_BACKLOG}",
        "nginx asks for 511 whatever somaxconn allows; the lesser of both holds.",
        _backlog,
        f"listen 80 backlog={_BACKLOG};",
    ),
    Preset(
        "nginx: access_log",
        _SERVER,
        "#CustomLog (off)",
        "off, or buffer=64k",
        "a row is written for each request: with one request a connection that is a system call "
        "a connection. Turn it off for a bench; in production buffer it, for you want the log.",
        _nginx("access_log", lambda now: now.startswith("off") or "buffer=" in now),
        "access_log /var/log/nginx/access.log combined buffer=64k flush=5s;",
    ),
    Preset(
        "nginx: error_log",
        _SERVER,
        "LogLevel crit",
        "error or graver",
        "levels below `error` write for each connection.",
        _nginx("error_log", lambda now: now.split()[-1] not in {"debug", "info", "notice"}),
        "error_log /var/log/nginx/error.log error;",
    ),
    Preset(
        "nginx: worker_connections",
        _SERVER,
        "MaxClients 1500",
        f"{_CONNECTIONS} or more",
        "a worker holds this many connections and refuses the next; Apache had a process for "
        "each. Open files limit it as well: worker_rlimit_nofile.",
        _nginx("worker_connections", lambda now: int(now) >= _CONNECTIONS),
        "worker_connections 4096;",
    ),
    Preset(
        "nginx: worker_processes",
        _SERVER,
        "Min/MaxSpareServers 200",
        "auto",
        "a worker for each CPU serves them all; 200 processes ready were Apache's way of it. "
        "MaxRequestsPerChild 0, never begin a process anew, is how nginx is.",
        _nginx("worker_processes", lambda now: True if now == "auto" else None),
        "worker_processes auto;",
    ),
    Preset(
        "nginx: keepalive_timeout",
        _SERVER,
        "HTTP/1.0, one request",
        "0 to bench as 2001; else leave",
        "one request a connection is what made the paper's connections requests. Browsers gain "
        "from more, and a director has fewer connections for it.",
        _nginx("keepalive_timeout", lambda now: True if now.startswith("0") else None),
    ),
)
