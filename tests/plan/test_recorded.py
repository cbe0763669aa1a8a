"""Results are computed from plans of every version, and of none."""

import msgspec
import pytest

from dirtune.bench import store
from dirtune.errors import ParseError
from dirtune.plan.recorded import Recorded, recorded


def test_a_run_without_a_plan_says_nothing():
    assert recorded({}) == Recorded()
    assert recorded({}).destinations == ()
    assert recorded({}).link_bits_per_s is None


def test_the_figures_of_the_paper_are_read():
    plan = store.example("paper").plan

    assert (plan.price.currency, plan.price.director) == ("USD", 7500)
    assert plan.compare.threshold is None


def test_a_key_of_another_version_is_left_alone():
    plan = recorded({"colour": "red", "load": {"service": 0, "haste": 1}, "services": [{"x": 1}]})

    assert plan.load.service == 0
    assert plan.destinations == ()


def test_the_destinations_are_those_of_the_service_under_load():
    services = [{"destinations": [{}]}, {"destinations": [{"forwarding": "nat"}, {}]}]
    plan = {"load": {"service": 1}, "services": services}

    assert [d.forwarding for d in recorded(plan).destinations] == ["nat", "dr"]
    assert recorded(plan | {"load": {"service": 2}}).destinations == ()


def test_a_price_of_another_version_is_read():
    plan = recorded({"price": {"currency": "EUR", "director": 10, "rack": 3}})

    assert (plan.price.currency, plan.price.director) == ("EUR", 10)


@pytest.mark.parametrize("table", ["load", "services", "compare", "controls", "price"])
def test_a_table_of_another_type_is_an_error(table):
    with pytest.raises(ParseError, match="the run's plan"):
        recorded({table: msgspec.json.decode(b"3")})
