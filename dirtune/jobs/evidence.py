"""Take the evidence of a fault into one folder: the seconds before, a profile and an audit."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dirtune import __version__, archive, signals, writing
from dirtune.analyse.profile import Profile
from dirtune.checks import audits, discovery, documents
from dirtune.checks.audits import Audit
from dirtune.errors import DirtuneError
from dirtune.escape import ascii_json
from dirtune.jobs import snapshots
from dirtune.snapshot import take_all
from dirtune.watch.documents import Evidence, FiringDocument, Second
from dirtune.watch.metrics import Metric
from dirtune.watch.moment import Moment
from dirtune.watch.seconds import seconds
from dirtune.watch.store import Store

_INTERVAL_S = 2.0
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Request:
    """A firing, and the evidence to take."""

    fired: tuple[FiringDocument, ...]
    message: str
    """The conditions that fired, in one line."""
    watched: tuple[str, ...]
    """All conditions that were watched."""
    moments: tuple[Moment, ...]
    """The moments up to the firing."""
    metrics: tuple[Metric, ...]
    capture_s: float
    """How long to profile, in seconds; 0 takes no profile."""
    probes: tuple[str, ...]


Report = Callable[[Evidence, str, Sequence[Second], Profile | None, Audit | None], str]
"""A function that makes the text of report.md."""


def taken(store: Store, request: Request, report: Report) -> Path:
    """Take the evidence, and return its folder.

    A part that cannot be taken is named in the report. Raises `NotPossible` or `OSError` if the
    folder cannot be written.
    """
    fired_s = request.moments[-1].wall_s
    stamp = datetime.fromtimestamp(fired_s, UTC)
    metric = request.fired[0].condition.partition("<")[0].partition(">")[0].strip()
    name = f"{stamp:%Y%m%dT%H%M%SZ}-{metric.replace(' ', '-')[:_LONGEST_NAME]}"
    missing: list[str] = []
    with store.draft(name) as (draft, final):
        profile = _profile(request, missing)
        audit = _audit(draft, missing)
        before = tuple(seconds(request.moments, request.metrics))
        _write_json(draft / "before.jsonl", msgspec.json.Encoder().encode_lines(before))
        if profile is not None:
            _write_json(draft / "profile.json", msgspec.json.format(msgspec.json.encode(profile)))
        if audit is not None:
            document = json.dumps(documents.of_audit(audit), indent=2)
            _write_json(draft / "audit.json", document.encode())
        files = sorted({*(path.name for path in draft.iterdir()), "report.md", "watch.json"})
        evidence = Evidence(
            stamp.isoformat(timespec="milliseconds"),
            os.uname().nodename,
            __version__,
            os.uname().release,
            request.fired,
            request.watched,
            tuple(files),
            tuple(missing),
        )
        _write_json(draft / "watch.json", msgspec.json.format(msgspec.json.encode(evidence)))
        text = report(evidence, request.message, before, profile, audit)
        _write(draft / "report.md", text.encode(errors="backslashreplace"))
    return final


def _write(path: Path, data: bytes) -> None:
    writing.replace(path, data, private=True)


def _write_json(path: Path, data: bytes) -> None:
    """Write JSON in ASCII, because people print it on terminals, and names may be hostile."""
    _write(path, ascii_json(data.decode()).encode())


def _profile(request: Request, missing: list[str]) -> Profile | None:
    """Profile this host at once, because the fault may be short; add a failure to *missing*."""
    from dirtune.bench import local
    from dirtune.probes import session

    async def profiled() -> Profile:
        limit = session.LIMIT_PERCENT
        named = session.named(request.probes)
        with session.opened(named, limit_percent=limit, say=lambda _: None) as probing:
            return await local.profile(request.capture_s, (), probing, lambda _: None)

    if not request.capture_s:
        return None
    try:
        return signals.run(profiled())
    except (DirtuneError, OSError) as error:
        missing.append(f"the profile: {error}")
        return None


def _audit(draft: Path, missing: list[str]) -> Audit | None:
    """Audit this host and keep its snapshot in *draft*; add a failure to *missing*."""
    try:
        pair = snapshots.samples(snapshots.Source(interval=_INTERVAL_S))
        archive.save(pair, draft / "snapshot.tar.gz")
        return audits.of_snapshot(None, take_all(pair), discovery.all_checks())
    except (DirtuneError, OSError) as error:
        missing.append(f"the audit: {error}")
        return None
