"""Read and write settings of NICs, under the names of `netlink.ethtool`.

pyroute2 reads and writes all settings except RSS tables, for which `netlink.ethtool` is used.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from dirtune.errors import ApplyError, NotPossible, require_files
from dirtune.host import Host, LiveHost
from dirtune.netlink import ethtool as kernel

LATE_IMPORT = "pyroute2.ethtool"
"""A module that is imported only when it is needed, because that takes 0.2 s."""


def read(host: Host, interface: str, group: str) -> Mapping[str, int]:
    """Return the settings of a NIC; raises `ApplyError` if its driver does not report them."""
    with _ethtool(host, interface, group) as ethtool:
        if group == "features":
            features = ethtool.get_features(interface).features
            return {name: int(each.enable) for name, each in features.items()}
        answer = getattr(ethtool, f"get_{group}")(interface)
        settings = answer if isinstance(answer, dict) else answer._asdict()
        return {name: int(value) for name, value in settings.items() if value is not None}


def write(host: Host, interface: str, group: str, values: Mapping[str, int]) -> None:
    """Set *values* on a NIC, and leave its other settings alone.

    Raises `ApplyError` if the driver refuses.
    """
    with _ethtool(host, interface, group) as ethtool:
        if group == "features":
            features = ethtool.get_features(interface)
            for name, value in values.items():
                features.features[name].enable = bool(value)
            ethtool.set_features(interface, features)
        elif group == "rings":
            ethtool.set_rings(interface, **values)
        else:
            getattr(ethtool, f"set_{group}")(interface, dict(values))


def rss_table(host: Host, interface: str) -> tuple[int, ...] | None:
    """Return the RSS indirection table of a NIC; None if its driver does not report it."""
    _require_live(host, interface)
    try:
        with kernel.opened() as cards:
            return cards.rss_table(interface)
    except OSError as error:
        require_files(error)
        return None


def write_rss_table(host: Host, interface: str, table: Sequence[int]) -> None:
    """Set the RSS indirection table of a NIC; an empty *table* lets the driver choose it again.

    Raises `ApplyError` if the driver refuses.
    """
    _require_live(host, interface)
    try:
        with kernel.opened() as cards:
            cards.set_rss_table(interface, table)
    except OSError as error:
        require_files(error)
        raise ApplyError(
            f"{interface}: the RSS table could not be set: {error.strerror}"
        ) from error


@contextmanager
def _ethtool(host: Host, interface: str, group: str) -> Iterator[Any]:
    _require_live(host, interface)
    library = importlib.import_module(LATE_IMPORT)
    try:
        with closing(library.Ethtool()) as ethtool:
            yield ethtool
    except Exception as error:  # the library raises a different exception for each refusal
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ApplyError(f"{interface}: {group} could not be read or set: {reason}") from error


def _require_live(host: Host, interface: str) -> None:
    if not (isinstance(host, LiveHost) and host.here):
        raise NotPossible(f"{interface} belongs to a recorded host, so it cannot be read or set")
