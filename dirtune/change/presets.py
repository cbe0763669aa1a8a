"""Settings of clients and real servers in a paper of 2001, and today's equivalents. Pure.

O'Rourke and Keefe, "Performance Evaluation of Linux Virtual Server", LISA 2001, sections 4 and 5.
This module only advises: today half of the settings are defaults, and some would do harm. Each
preset judges whether a node's value is good enough, and names the command that sets a better
value.
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
"""Number of characters of a value that are shown."""
# The defaults of nginx (ngx_core_module, ngx_http_core_module).
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
  # Any user can give a process this name, so only processes of root or of this user count.
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
"""A POSIX shell script that prints the settings of a node; it changes nothing."""


class Seen(NamedTuple):
    """The output of `SCRIPT` on one node."""

    values: Mapping[str, str]
    """The value of each sysctl, by its path below /proc/sys; `open-files` is the limit of open
    files."""
    nginx: str | None
    """The configuration of the running nginx; None if no nginx runs."""


class Verdict(NamedTuple):
    """The value of a setting on one node, and whether it is good enough."""

    now: str | None
    """The present value; None if it is unknown."""
    will_do: bool | None
    """Whether the value is good enough; None if a person must decide."""


class JudgedPreset(NamedTuple):
    """A preset, and the verdict on the value that one node has."""

    preset: "Preset"
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Preset:
    """A setting of the LVS measurements that were published in 2001, and its equivalent today."""

    setting: str
    roles: frozenset[Role]
    """Client, real server or both."""
    paper: str
    today: str
    why: str
    judge: Callable[[Seen], Verdict]
    command: str = ""
    """The command that sets the value of today; empty if none is needed."""


def parse(text: str) -> Seen:
    """Parse the output of `SCRIPT`."""
    values: dict[str, str] = {}
    conf: list[str] | None = None
    for row in text.split("\n"):  # splitlines() would also split at other characters
        name, _, rest = row.partition(" ")
        if name == "nginx-runs":
            conf = conf or []
        elif name == "nginx" and conf is not None:
            conf.append(rest.partition("#")[0])
        elif name:
            values[name] = " ".join(rest.split())[:_LONGEST]
    return Seen(values, None if conf is None else "\n".join(conf))


def judged(roles: frozenset[Role], seen: Seen) -> Iterator[JudgedPreset]:
    """Yield every preset for a node with *roles*, with the verdict on the node's value."""
    for preset in PRESETS:
        if roles & preset.roles:
            yield JudgedPreset(preset, _verdict(preset, seen))


def _verdict(preset: Preset, seen: Seen) -> Verdict:
    try:
        return preset.judge(seen)
    except (LookupError, ValueError):  # a value that no kernel or nginx prints
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
        # A limit may be unlimited, and file-max a huge number since systemd raises it.
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
        now = " ".join(found)[:_LONGEST] if found else f"{_NGINX[name]} (nginx's default)"
        return Verdict(now, good(now.removesuffix(" (nginx's default)")))

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
        "Each connection keeps a descriptor until it ends or times out, so a client needs "
        "rate x time-out descriptors and 100 more. httperf cannot use more than 1,024 "
        "(select(2)); h2load can.",
        _at_least("open-files", _DESCRIPTORS),
        f"ulimit -n {_DESCRIPTORS}",
    ),
    Preset(
        "fs.file-max",
        _CLIENT | _SERVER,
        "150000",
        "150000 or more",
        "This limit applies to all processes together. The kernel derives it from the size "
        "of the memory, and usually sets it far higher. fs.inode-max, 32768 in the paper, no "
        "longer exists.",
        _at_least("fs/file-max", 150_000),
        "sysctl -w fs.file-max=150000",
    ),
    Preset(
        "net.ipv4.ip_local_port_range",
        _CLIENT,
        "1024 and up",
        "1024 65535",
        "A port waits 60 s before it is used again. The default of 28,232 ports allows 470 "
        "connections/s from one address to one VIP; 64,512 ports allow 1,075.",
        _ports,
        "sysctl -w 'net.ipv4.ip_local_port_range=1024 65535'",
    ),
    Preset(
        "net.core.{rmem,wmem}_{max,default}",
        _CLIENT | _SERVER,
        "5242880 for all four",
        "leave the defaults",
        "TCP ignores these defaults: it uses tcp_rmem and tcp_wmem, and adapts its buffers to the "
        "traffic (since Linux 2.6.7). The 628-byte test page fits into any buffer. A default of "
        "5 MB lets every UDP and raw socket use that much memory.",
        _buffers,
    ),
    Preset(
        "net.core.somaxconn",
        _SERVER,
        "not set (default 128)",
        f"{_BACKLOG} or more",
        "The queue of connections that wait for accept(2) is never longer than this. The default "
        "is 4096 since Linux 5.4.",
        _at_least("net/core/somaxconn", _BACKLOG),
        f"sysctl -w net.core.somaxconn={_BACKLOG}",
    ),
    Preset(
        "net.ipv4.tcp_max_syn_backlog",
        _SERVER,
        "not set",
        "1024 or more",
        "Half-open connections beyond this limit are dropped or get SYN cookies. The kernel "
        "derives the limit from the size of the memory.",
        _at_least("net/ipv4/tcp_max_syn_backlog", 1024),
        "sysctl -w net.ipv4.tcp_max_syn_backlog=4096",
    ),
    Preset(
        "nginx: listen backlog",
        _SERVER,
        "511, Apache's default",
        f"backlog={_BACKLOG}",
        "nginx asks for a backlog of 511. If net.core.somaxconn is smaller, it applies instead.",
        _backlog,
        f"listen 80 backlog={_BACKLOG};",
    ),
    Preset(
        "nginx: access_log",
        _SERVER,
        "#CustomLog (off)",
        "off, or buffer=64k",
        "nginx writes a row for each request, so one request per connection costs one system call "
        "per connection. Turn the log off for a bench; in production, buffer it.",
        _nginx("access_log", lambda now: now.startswith("off") or "buffer=" in now),
        "access_log /var/log/nginx/access.log combined buffer=64k flush=5s;",
    ),
    Preset(
        "nginx: error_log",
        _SERVER,
        "LogLevel crit",
        "error or more severe",
        "Levels below `error` write a row for each connection.",
        _nginx("error_log", lambda now: now.split()[-1] not in {"debug", "info", "notice"}),
        "error_log /var/log/nginx/error.log error;",
    ),
    Preset(
        "nginx: worker_connections",
        _SERVER,
        "MaxClients 1500",
        f"{_CONNECTIONS} or more",
        "A worker holds this many connections and refuses more; Apache had one process per "
        "connection. The limit on open files applies as well: worker_rlimit_nofile.",
        _nginx("worker_connections", lambda now: int(now) >= _CONNECTIONS),
        "worker_connections 4096;",
    ),
    Preset(
        "nginx: worker_processes",
        _SERVER,
        "Min/MaxSpareServers 200",
        "auto",
        "One worker per CPU serves all connections; Apache kept 200 processes ready for them. "
        "MaxRequestsPerChild 0 kept Apache from restarting processes; nginx never restarts them.",
        _nginx("worker_processes", lambda now: True if now == "auto" else None),
        "worker_processes auto;",
    ),
    Preset(
        "nginx: keepalive_timeout",
        _SERVER,
        "HTTP/1.0, one request",
        "0 for tests as in 2001, else default",
        "In the paper each connection carried one request. Browsers benefit from more requests "
        "per connection, and a director then has fewer connections.",
        _nginx("keepalive_timeout", lambda now: True if now.startswith("0") else None),
    ),
)
