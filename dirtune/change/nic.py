"""Read and write settings of NICs with pyroute2, under the names of `netlink.ethtool`."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from dirtune.errors import ApplyError, NotPossible
from dirtune.host import Host, LiveHost


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


@contextmanager
def _ethtool(host: Host, interface: str, group: str) -> Iterator[Any]:
    from pyroute2.ethtool import Ethtool  # noqa: PLC0415  (0.2 s)

    if not (isinstance(host, LiveHost) and host.here):
        raise NotPossible(f"{interface} belongs to a recorded host, so it cannot be read or set")
    try:
        with closing(Ethtool()) as ethtool:
            yield ethtool
    except Exception as error:  # the library raises a different exception for each refusal
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ApplyError(f"{interface}: {group} could not be read or set: {reason}") from error
