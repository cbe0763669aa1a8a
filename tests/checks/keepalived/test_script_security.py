from dirtune.checks import Severity, Status
from dirtune.checks.keepalived.script_security import script_security
from tests.checks.keepalived.directors import findings, outcome, real, server


def test_a_host_without_keepalived_has_nothing_to_judge():
    assert outcome(script_security, None).status is Status.NOT_APPLICABLE


MISC = server(real("10.0.1.1", 'MISC_CHECK {\nmisc_path "/bin/x -p secret"\n}\n'))


def test_scripts_as_root():
    (finding,) = findings(script_security, MISC)

    assert finding.severity is Severity.MEDIUM
    assert finding.evidence == {"scripts": ["/bin/x"], "script_user": None}


def test_scripts_of_another_user():
    (finding,) = findings(script_security, f"global_defs {{\nscript_user nobody\n}}\n{MISC}")

    assert finding.severity is Severity.LOW


def test_security_is_enabled_or_there_is_no_script():
    secure = f"global_defs {{\nenable_script_security\n}}\n{MISC}"

    assert findings(script_security, secure) == ()
    assert findings(script_security, server(real("10.0.1.1"))) == ()
