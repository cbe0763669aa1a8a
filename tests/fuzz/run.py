"""Fuzz for a while and print the faults: `python -m tests.fuzz.run SECONDS [SEED] [TARGET]`."""

import random
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress

from tests.fuzz import targets
from tests.fuzz.mutation import mutated, seeds

SLOW_S = 1.0
_HANGS_S = 20


class Hang(BaseException):
    """A target was still at work after a long time."""


def _hang(_number: int, _frame: object) -> None:
    raise Hang


def campaign(seconds: float, seed: int, only: str = "") -> tuple[Counter[str], dict[str, str]]:
    """Return how many inputs each target was given, and the first traceback of each fault."""
    counts: Counter[str] = Counter()
    faults: dict[str, str] = {}
    todo = {name: one for name, one in targets.everything().items() if only in name}
    targets.prepare()
    own = {name: _own(name, target) for name, target in todo.items()}
    # As much time for each, and in each a sequence of its own that the seed decides.
    chances = {name: random.Random(f"{seed} {name}") for name in todo}
    spent = dict.fromkeys(todo, 0.0)
    signal.signal(signal.SIGVTALRM, _hang)
    end = time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        name = min(spent, key=spent.__getitem__)
        state = chances[name].randrange(1 << 62)
        counts[name] += 1
        if fault := tried(todo[name], own[name], state):
            kind = f"{name}: {_kind(fault)}"
            faults.setdefault(kind, f"{fault}\nstate {state}")
        spent[name] += time.monotonic() - begin
    return counts, faults


def _kind(fault: str) -> str:
    """Return where and what: the innermost line of dirtune, and the exception without its text."""
    places = [row.strip() for row in fault.splitlines() if "/dirtune/" in row and "File" in row]
    return (
        f"{places[-1].partition('/dirtune/')[2] if places else ''} {fault.splitlines()[-1][:60]}"
    )


def _own(name: str, target: targets.Target) -> tuple[str, ...]:
    """Return the seeds that a parser reads as something, else all."""
    if name in targets.OTHERS:
        return seeds()
    values: dict[str, str] = {}
    for text in seeds():
        with suppress(Exception):
            values[text] = repr(target(text, random.Random(1)))
    usual = Counter(values.values()).most_common(1)[0][0] if values else ""
    return tuple(text for text, value in values.items() if value != usual) or seeds()


def tried(target: targets.Target, own: tuple[str, ...], state: int) -> str | None:
    """Give the target one input; return what it should not have done."""
    chance = random.Random(state)
    text = mutated(chance.choice(own if chance.random() < 0.8 else seeds()), chance)
    begin = time.thread_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, _HANGS_S)
    try:
        target(text, chance)
    except targets.EXPECTED:
        pass
    except Hang:
        return f"{traceback.format_exc()}\nhangs"
    except Exception:  # noqa: BLE001
        return f"{text[:300]!r}\n{traceback.format_exc()}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    took = time.thread_time() - begin
    return f"{text[:300]!r}\ntakes more than {SLOW_S} s ({took:.1f})" if took > SLOW_S else None


if __name__ == "__main__":
    said, found = campaign(
        float(sys.argv[1]), int((sys.argv[2:] or ["1"])[0]), "".join(sys.argv[3:])
    )
    for name, fault in found.items():
        sys.stdout.write(f"=== {name}\n{fault}\n")
    sys.stdout.write(f"{sum(said.values())} inputs, {len(found)} faults: {dict(said)}\n")
