"""Tables of tens of thousands of services: the work grows with the table, not faster."""

import pytest

from dirtune.errors import NotPossible, PlanError
from dirtune.lvs import diff, ipvsadm
from dirtune.plan import parse_configuration, parse_json
from dirtune.plan.services import table as planned
from dirtune.render import lvs_plan
from tests.counting import calls

FEW, MANY = 200, 800


def rules(number, weight=1):
    rows = []
    for each in range(number):
        service = f"-t 198.18.{each >> 8}.{each & 255}:80"
        rows.append(f"-A {service} -s wlc")
        real = f"10.0.{each >> 7}.{each % 128 * 2}"
        rows.append(f"-a {service} -r {real}:80 -m -w {weight}")
    return "".join(f"{row}\n" for row in rows)


def imported(text):
    return lvs_plan.document(ipvsadm.parse(text))


def exported(text):
    return ipvsadm.export(planned(parse_json(text)))


def compared(tables):
    return diff.diff(*tables)


WORK = {
    "import": (imported, rules),
    "export": (exported, lambda number: imported(rules(number))),
    "plan of new services": (
        compared,
        lambda number: (ipvsadm.parse(""), ipvsadm.parse(rules(number))),
    ),
    "plan of other weights": (
        compared,
        lambda number: (ipvsadm.parse(rules(number)), ipvsadm.parse(rules(number, 2))),
    ),
}


@pytest.mark.parametrize("command", WORK)
def test_the_work_grows_with_the_table(command):
    function, given = WORK[command]
    few, many = (calls(function, given(number))[0] for number in (FEW, MANY))

    assert many < few * MANY / FEW * 1.1


def test_json_is_the_same_plan_as_toml():
    table = ipvsadm.parse(rules(3) + "-A -f 7 -s sh -b sh-port -p 60 -M 255.255.255.0\n")

    json, toml = lvs_plan.document(table), lvs_plan.plan(table)
    assert parse_json(json) == parse_configuration(toml)
    assert json.count("\n") == 3 + 1 + 2
    assert exported(lvs_plan.document(ipvsadm.parse(""))) == ""


def test_a_plan_that_no_toml_may_hold_says_what_to_do(monkeypatch):
    monkeypatch.setattr(lvs_plan, "LARGEST_TOML", 1000)
    text = rules(10)

    with pytest.raises(NotPossible, match="--format json"):
        lvs_plan.plan(ipvsadm.parse(text))
    assert exported(imported(text)) == text
    with pytest.raises(PlanError, match="as JSON"):
        parse_configuration("#" * (1 << 20) + "\n")
