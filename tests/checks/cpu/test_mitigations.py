import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.cpu.mitigations import mitigations
from dirtune.snapshot import Snapshot
from tests.checks.cpu.hosts import director, power


class TestMitigations:
    RETPOLINES = "Mitigation: Retpolines; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected"

    def outcome(self, spectre_v2="Not affected", retbleed="Not affected", services=None):
        told = power(vulnerabilities={"spectre_v2": spectre_v2, "retbleed": retbleed})
        taken = Snapshot(cpu_power=told, services=services or director())
        return run((mitigations,), taken)[0]

    def test_retpolines_are_told(self):
        (found,) = self.outcome(self.RETPOLINES).findings

        assert (found.subject, found.severity) == ("spectre_v2", Severity.INFO)
        assert "spectre_v2 with Retpolines," in found.message
        assert [fix.commands for fix in found.fixes] == [()]

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("Mitigation: IBRS; IBPB: conditional", "IBRS"),
            ("Mitigation: Enhanced IBRS + Retpolines; RSB filling", "Enhanced IBRS + Retpolines"),
            ("Mitigation: Full generic retpoline, IBPB: always-on", "Full generic retpoline"),
        ],
    )
    def test_other_ways(self, text, named):
        assert f"spectre_v2 with {named}," in self.outcome(text).findings[0].message
        assert f"retbleed with {named}," in self.outcome(retbleed=text).findings[0].message

    @pytest.mark.parametrize(
        "text",
        [
            "Not affected",
            "Vulnerable",
            "Mitigation: Enhanced IBRS; PBRSB-eIBRS: Retpoline",
            "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional",
            "",
        ],
    )
    def test_it_stays_quiet(self, text):
        assert self.outcome(text).status is Status.PASSED

    def test_only_directors(self):
        mitigated = power(vulnerabilities={"spectre_v2": self.RETPOLINES})
        taken = Snapshot(cpu_power=mitigated, services=())

        assert run((mitigations,), taken)[0].status is Status.NOT_APPLICABLE
