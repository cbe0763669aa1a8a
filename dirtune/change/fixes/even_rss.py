"""Spread the RSS indirection tables of NICs evenly over their queues."""

from collections.abc import Iterator

from dirtune.change.actions.spread_rss import SpreadRss
from dirtune.change.fixes import Fix, Question, Request
from dirtune.change.plan import Change, Refusal
from dirtune.settings import EvenRss


def _plan(question: Question) -> Iterator[Change | Refusal]:
    seen: set[str] = set()
    for asked, setting in question.settings(EvenRss):
        if setting.interface not in seen:
            seen.add(setting.interface)
            yield _one(asked, setting, question)


def _one(request: Request, setting: EvenRss, question: Question) -> Change | Refusal:
    card = (question.snapshot.ethtool or {}).get(setting.interface)
    if card is None or not card.rss:
        return request.refusal(setting.interface, "has a driver that does not report an RSS table")
    action = SpreadRss(setting.interface, card.rss, setting.queues)
    used = len(set(card.rss))
    title = (
        f"spread the RSS table of {setting.interface} evenly over {setting.queues} queues; "
        f"the present table uses {used}"
    )
    return request.change(action, title)


FIX = Fix("even-rss", _plan)
