"""Names that ssh would put into a shell's text are refused before anything is started."""

import pytest

from dirtune import plan as plans
from dirtune import remote, ssh_names
from dirtune.errors import NodeUnreachable, PlanError

HOSTILE = [
    "x;touch PWN;#", "x|id", "x&id", "$(id)", "`id`", "x$HOME", "a b", "a\tb", "a\nb", "a\x00b",
    "x\x1b[31m", "x'", 'x"', "x\\", "x<y", "x>y", "(x)", "{x}", "-oProxyCommand=id", "",
    "u@", "@h", "-l@h", "u;id@h", "$(id)@h", "u u@h", "u\\@h", "ssh://u%3bid@h", "u@ssh://h:2222",
    "u@ssh://-oProxyCommand=id", "h\x9b31m",
    "h" * 300, "a\u202eb",
]  # fmt: skip
GOOD = ["lb1", "root@lb1", "lb-1.example.net", "10.0.0.1", "fe80::1%eth0", "DOM\\ann@lb1", "a_b"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_and_nothing_is_started(name, monkeypatch):
    monkeypatch.setattr(remote.spawn, "spawn", None)
    monkeypatch.setattr(remote.spawn, "output", None)

    found = remote.fetch_all((name,), "true", str)[name]

    assert isinstance(found, NodeUnreachable)
    assert len(str(found)) < 300
    assert str(found).isprintable()


@pytest.mark.parametrize("name", GOOD)
def test_what_openssh_takes_is_taken(name):
    assert ssh_names.refusal(name) is None


@pytest.mark.parametrize("part", ['[director]\nhost = "{}"', '[[clients]]\nhost = "{}"'])
def test_a_plan_with_such_a_name_is_refused_when_it_is_read(part):
    text = plans.EXAMPLE + "\n"
    was = 'host = "lb1"' if "director" in part else 'host = "c1"'
    assert was in text

    with pytest.raises(PlanError, match="is not allowed in the name of a host"):
        plans.parse(text.replace(was, 'host = "x;touch PWN"'))
