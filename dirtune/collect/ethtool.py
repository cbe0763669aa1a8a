"""Settings of NICs: rings, channels, coalescing, offloads, RSS and the drivers' own counters.

They come from netlink and ioctl (`collect.netlink`), or, on a host without dirtune, from the text
of ethtool(8). Most drivers support only some of the settings: a setting that a driver does not
support (`n/a`, or an error) is None or absent.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from dirtune.collect.answers import ETHTOOL, answer
from dirtune.collect.commands import ETHTOOL_TEXTS
from dirtune.collect.files import decimal, texts_in
from dirtune.errors import ParseError, SourceMissing
from dirtune.formats import from_json, parsing
from dirtune.host import Host
from dirtune.netlink.ethtool import numbered

SOURCES = (ETHTOOL, ETHTOOL_TEXTS)
_MAXIMUMS, _CURRENT = "pre-set maximums", "current hardware settings"
# ethtool(8)'s names of settings, and the names that netlink uses for them.
_COALESCE = {"rx-usecs": "rx_coalesce_usecs", "rx-frames": "rx_max_coalesced_frames"} | {
    "tx-usecs": "tx_coalesce_usecs",
    "tx-frames": "tx_max_coalesced_frames",
}
_FEATURES = {"large-receive-offload": "rx-lro", "generic-receive-offload": "rx-gro"} | {
    "receive-hashing": "rx-hashing",
    "generic-segmentation-offload": "tx-generic-segmentation",
    "tcp-segmentation-offload": "tx-tcp-segmentation",
}
_ADAPTIVE = re.compile(r"Adaptive RX: (?P<rx>on|off|n/a)\s+TX: (?P<tx>on|off|n/a)")
_FEATURE = re.compile(r"(?P<name>[\w-]+): (?P<state>on|off)(?P<note> \[[^]]*\])?")
_COUNTER = re.compile(r"(?P<name>\S.*?):\s*(?P<value>\d+)")
_RSS_ROW = re.compile(r"\s*\d+:(?P<queues>(?:\s+\d+)+)\s*")


class Feature(msgspec.Struct, frozen=True):
    """One offload."""

    on: bool
    fixed: bool = False
    """Whether the driver refuses to change the offload."""


class Card(msgspec.Struct, frozen=True):
    """The settings of one NIC; a field is None if the driver does not report it."""

    rings: Mapping[str, int] | None = None
    """`rx`, `tx`, `rx_max`, `tx_max`, in descriptors."""
    channels: Mapping[str, int] | None = None
    """`combined_count`, `max_combined`, `rx_count`, `max_rx`, ..."""
    coalesce: Mapping[str, int] | None = None
    """`rx_coalesce_usecs`, `use_adaptive_rx_coalesce`, ..."""
    features: Mapping[str, Feature] | None = None
    """Offloads by the kernel's names (`rx-lro`, `rx-gro`)."""
    statistics: Mapping[str, int] | None = None
    """The driver's own counters by the driver's own names."""
    rss: tuple[int, ...] | None = None
    """The RSS indirection table: the receive queue of each hash value."""


def read_ethtool(host: Host) -> Mapping[str, Card]:
    """Read the settings by interface. Raises `SourceMissing` if no NIC was queried."""
    try:
        return parse_ethtool(answer(host, ETHTOOL))
    except SourceMissing:
        texts = texts_in(host, ETHTOOL_TEXTS)
        if not texts:
            raise
        return _cards(texts)


def parse_ethtool(text: str) -> Mapping[str, Card]:
    """Parse the JSON of the netlink answers about NICs, which `collect.netlink` wrote."""
    try:
        return from_json(text, dict[str, Card])
    except msgspec.MsgspecError as error:
        raise ParseError("netlink's answer about NICs", str(error)) from error


@parsing("`ethtool -g`")
def parse_rings(text: str) -> Mapping[str, int] | None:
    """Parse the text of `ethtool -g`: `rx`, `tx`, `rx_max`, `tx_max`; None without settings."""
    return dict(_settings(text, "ring", ("rx", "tx"), ("{}_max", "{}"))) or None


@parsing("`ethtool -l`")
def parse_channels(text: str) -> Mapping[str, int] | None:
    """Parse the text of `ethtool -l`: `combined_count`, `max_combined`; None without settings."""
    names = ("rx", "tx", "other", "combined")
    return dict(_settings(text, "channel", names, ("max_{}", "{}_count"))) or None


@parsing("`ethtool -c`")
def parse_coalesce(text: str) -> Mapping[str, int] | None:
    """Parse the text of `ethtool -c`; None without settings."""
    settings = {}
    adaptive = _ADAPTIVE.search(text)
    for way in ("rx", "tx"):
        if adaptive and adaptive[way] != "n/a":
            settings[f"use_adaptive_{way}_coalesce"] = int(adaptive[way] == "on")
    for name, value in _rows(text):
        if name in _COALESCE and value.isdecimal():
            settings[_COALESCE[name]] = decimal(value)
    return settings or None


def parse_features(text: str) -> Mapping[str, Feature] | None:
    """Parse the text of `ethtool -k`; None without a feature row."""
    rows = (_FEATURE.fullmatch(row.strip()) for row in text.splitlines())
    return {
        _FEATURES.get(row["name"], row["name"]): Feature(
            row["state"] == "on", "fixed" in (row["note"] or "")
        )
        for row in rows
        if row
    } or None


@parsing("`ethtool -S`")
def parse_statistics(text: str) -> Mapping[str, int] | None:
    """Parse the text of `ethtool -S`; None without a counter."""
    rows = (_COUNTER.fullmatch(row.strip()) for row in text.splitlines())
    return numbered((row["name"], decimal(row["value"])) for row in rows if row) or None


@parsing("`ethtool -x`")
def parse_rss(text: str) -> tuple[int, ...] | None:
    """Parse the RSS indirection table in the text of `ethtool -x`; None without a table."""
    rows = (_RSS_ROW.fullmatch(row) for row in text.splitlines())
    return tuple(decimal(queue) for row in rows if row for queue in row["queues"].split()) or None


_PARSERS = {
    "g": ("rings", parse_rings),
    "l": ("channels", parse_channels),
    "c": ("coalesce", parse_coalesce),
    "k": ("features", parse_features),
    "S": ("statistics", parse_statistics),
    "x": ("rss", parse_rss),
}


def _cards(texts: Mapping[str, str]) -> Mapping[str, Card]:
    facts_of: dict[str, dict[str, object]] = {}
    for path, text in texts.items():
        option, interface = path.split("/")[-2:]
        name, parse = _PARSERS[option]
        facts_of.setdefault(interface, {})[name] = parse(text)
    return {name: msgspec.convert(facts, Card) for name, facts in facts_of.items()}


def _settings(
    text: str, kind: str, names: tuple[str, ...], forms: tuple[str, str]
) -> Iterator[tuple[str, int]]:
    """Yield the settings of one *kind*; *text* may contain the outputs of several options."""
    form, mine = "", True
    for name, value in _rows(text):
        if " parameters for " in name:
            form, mine = "", name.startswith(kind)
        elif name in {_MAXIMUMS, _CURRENT}:
            form = forms[name == _CURRENT]
        elif mine and form and name in names and value.isdecimal():
            yield form.format(name), decimal(value)


def _rows(text: str) -> Iterator[tuple[str, str]]:
    for row in text.splitlines():
        name, colon, value = row.partition(":")
        if colon:
            yield name.strip().lower(), value.strip()
