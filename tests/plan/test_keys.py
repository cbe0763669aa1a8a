"""An unknown key of a plan comes with the keys of its own table that it may stand for."""

import pytest

from dirtune.errors import PlanError
from dirtune.plan import keys, parse
from dirtune.plan.example import EXAMPLE as MINIMAL
from dirtune.plan.tables import Plan


@pytest.mark.parametrize(
    ("table", "wrong", "right"),
    [
        ("[director]", "hst", "host"),
        ("[load]", "warm", "warmup"),
        ("[[services]]", "schedulr", "scheduler"),
        ("[compare]", "prim", "primary"),
    ],
)
def test_the_nearest_key_of_that_table_is_suggested(table, wrong, right):
    text = MINIMAL if table in MINIMAL else f"{MINIMAL}\n{table}\n"
    text = text.replace(table, f"{table}\n{wrong} = 1", 1)

    with pytest.raises(PlanError, match=rf"unknown field `{wrong}`\. Did you mean {right}"):
        parse(text)


@pytest.mark.parametrize("wrong", ["qqqqqq", "h" * 5000])
def test_a_key_that_is_like_none_gets_no_suggestion(wrong):
    with pytest.raises(PlanError) as caught:
        parse(MINIMAL.replace("[director]", f"[director]\n{wrong} = 1", 1))

    assert "Did you mean" not in str(caught.value)


def test_the_keys_of_tables_in_arrays_and_of_tables_that_may_be_missing():
    assert "weight" in keys.at(Plan, ("services", 3, "destinations", 0))
    assert "host" in keys.at(Plan, ("backup",))
    assert keys.at(Plan, ("services", "x")) == ()
    assert keys.at(Plan, ("title", 0)) == ()
