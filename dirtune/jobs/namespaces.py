"""Find the network namespaces of this machine that have IPVS services."""

import shlex
from collections.abc import Iterator

from dirtune import reading
from dirtune.collect.ip_vs import SOURCE
from dirtune.host import namespace
from dirtune.jobs import notes

_MOST_BYTES = 1 << 20
_MOST_NAMED = 8


def warn_of_services_elsewhere() -> None:
    """Warn of IPVS services in other network namespaces, as Docker Swarm and containers make."""
    if not reading.exists(SOURCE):  # without ip_vs there is no service in any namespace
        return
    for number, (name, services) in enumerate(_services()):
        if number == _MOST_NAMED:
            notes.warning("More network namespaces have IPVS services; they are not listed.")
            return
        subject = "An IPVS service is" if services == 1 else f"{services} IPVS services are"
        notes.warning(
            f"{subject} in the network namespace {name}, which this audit does not see. "
            f"Look there: dirtune audit --netns {shlex.quote(name)}"
        )


def _services() -> Iterator[tuple[str, int]]:
    """Yield each namespace with services, and their number in the first MiB of the table."""
    for name, path in namespace.others().items():
        text = namespace.read_in(path, "ip_vs", _MOST_BYTES)
        rows = (text or "").splitlines()[3:]  # behind the heading
        count = sum(not row.lstrip().startswith("->") for row in rows if row.strip())
        if count:
            yield name, count
