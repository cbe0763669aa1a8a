"""One host whose data break dirtune, in an audit of several: its error, not the end of all."""

import pytest

from dirtune.checks import accepted, difference, measures
from dirtune.collect.kernel import Kernel
from dirtune.jobs import audits, snapshots
from dirtune.jobs.inventories import of_sources
from dirtune.jobs.snapshots import Source
from dirtune.snapshot import Snapshot

OPTIONS = audits.Options(audits.chosen(("net/",), ()), accepted.Accepted())
SOURCES = (Source(host="sound", interval=0), Source(host="broken", interval=0))


@pytest.fixture
def broken(monkeypatch):
    """Make the part of dirtune *module*.*name* fail on the data of the host `broken`."""
    hosts = {source: Snapshot(kernel=Kernel(source.host, "6.1", None)) for source in SOURCES}
    monkeypatch.setattr(
        snapshots, "snapshots_of", lambda sources: {one: hosts[one] for one in sources}
    )

    def plant(module, name):
        whole = getattr(module, name)

        def failing(snapshot):
            if snapshot.kernel.hostname == "broken":
                raise OverflowError("int too large to convert to float")
            return whole(snapshot)

        monkeypatch.setattr(module, name, failing)

    return plant


@pytest.mark.parametrize(("module", "name"), [(measures, "of"), (difference, "facts")])
def test_the_data_of_one_host_do_not_end_the_audit_of_a_fleet(broken, module, name):
    broken(module, name)

    report, summary = audits.of_fleet(of_sources(SOURCES), OPTIONS)

    assert "sound" in {audit.host["name"] for audit in report.audits}
    ((host, reason),) = report.unreachable
    assert host == "broken"
    assert reason.startswith("broken: internal error: OverflowError: int too large")
    assert [lost.host for lost in summary.unreachable] == ["broken"]


def test_nor_the_audit_of_several_hosts(broken):
    broken(measures, "of")

    report = audits.of_hosts(SOURCES, OPTIONS)

    assert [audit.host["name"] for audit in report.audits] == ["sound"]
    assert [host for host, _ in report.unreachable] == ["broken"]


def test_the_only_host_is_an_error_of_the_command(broken):
    broken(measures, "of")

    with pytest.raises(OverflowError):
        audits.of_hosts(SOURCES[1:], OPTIONS)
