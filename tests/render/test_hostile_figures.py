"""Any number of a profile or a run may be any number: both may come from another host."""

import json
from contextlib import suppress

import msgspec
import pytest

from dirtune.analyse import profile_difference
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import Run
from dirtune.errors import DirtuneError
from dirtune.formats import from_json
from dirtune.render import profile as render
from dirtune.render import report
from tests.render.crowded import RUN
from tests.render.inputs import COUNTS_ALONE, PROFILE

NUMBERS = (0, -1, 5e-324, 1e308, -1e308, 10**199, 10**400)


def numbers(value, at=()):
    """The place of each number in a document."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from numbers(inner, (*at, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at


def with_number(text, at, number):
    document = json.loads(text)
    here = document
    for key in at[:-1]:
        here = here[key]
    here[at[-1]] = number
    return json.dumps(document)


def decoded(text, kind):
    """The document, or None if it is refused."""
    try:
        return from_json(text, kind)
    except msgspec.DecodeError:
        return None


@pytest.mark.parametrize("good", [PROFILE, COUNTS_ALONE], ids=["timed", "counted"])
@pytest.mark.parametrize(
    "number", NUMBERS, ids=["0", "-1", "5e-324", "1e308", "-1e308", "10**199", "10**400"]
)
def test_no_number_of_a_profile_ends_in_a_traceback(good, number):
    text = msgspec.json.encode(good)
    spoilt = [decoded(with_number(text, at, number), Profile) for at in numbers(json.loads(text))]

    for profile in filter(None, spoilt):
        assert render.table(profile, verbose=True)
        assert render.markdown(profile, verbose=True)
        for pair in ((good, profile), (profile, good)):
            assert render.difference(profile_difference.of(*pair), markdown=False)
    assert sum(profile is None for profile in spoilt) < len(spoilt) or number == 10**400


def test_a_window_of_no_length_is_refused_by_its_name():
    text = msgspec.json.encode(msgspec.structs.replace(PROFILE.probed.locks, seconds=0.0))

    with pytest.raises(msgspec.DecodeError, match=r"> 0.*\$\.seconds"):
        from_json(text, type(PROFILE.probed.locks))


def test_long_digits_in_a_string_are_no_number():
    assert from_json(json.dumps({"a": "9" * 400 + '\\"' + "9" * 400}), dict[str, str])


def test_no_zero_in_a_run_ends_in_a_traceback():
    text = msgspec.json.encode(RUN)
    # One element stands for all elements of its list.
    places = {
        tuple("" if isinstance(key, int) else key for key in at): at
        for at in numbers(json.loads(text))
    }

    for at in places.values():
        run = decoded(with_number(text, at, 0), Run)
        if run is not None:
            with suppress(DirtuneError):
                assert report.markdown(run)
    assert len(places) > 50
