"""Network cards' settings, read and set with pyroute2 by the names that `netlink.ethtool` has."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from dirtune.errors import ApplyError, NotPossible
from dirtune.host import Host, LiveHost


def read(host: Host, interface: str, group: str) -> Mapping[str, int]:
    """Return how a card is set; `ApplyError` where its driver does not tell."""
    with _ethtool(host, interface, group) as ethtool:
        if group == "features":
            features = ethtool.get_features(interface).features
            return {name: int(each.enable) for name, each in features.items()}
        answer = getattr(ethtool, f"get_{group}")(interface)
        told = answer if isinstance(answer, dict) else answer._asdict()
        return {name: int(value) for name, value in told.items() if value is not None}


def write(host: Host, interface: str, group: str, values: Mapping[str, int]) -> None:
    """Set a card; what *values* do not name stays. `ApplyError` where the driver refuses."""
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


@contextmanager
def _ethtool(host: Host, interface: str, group: str) -> Iterator[Any]:
    from pyroute2.ethtool import Ethtool  # noqa: PLC0415  (0.2 s)

    if not (isinstance(host, LiveHost) and host.here):
        raise NotPossible(f"{interface}: a recorded host has no card to set")
    try:
        with closing(Ethtool()) as ethtool:
            yield ethtool
    except Exception as error:  # the library has an exception of its own for each refusal
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ApplyError(f"{interface}: {group}: {said}") from error
