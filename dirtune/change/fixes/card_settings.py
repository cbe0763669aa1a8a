"""Set rings, channels, coalescing and offloads of NICs."""

from collections.abc import Iterator, Mapping

from dirtune.change.actions.set_nic import SetNic
from dirtune.change.fixes import Fix, Question, Request
from dirtune.change.plan import Change, Refusal
from dirtune.collect.ethtool import Card
from dirtune.settings import FEATURES, CardValues


def _plan(question: Question) -> Iterator[Change | Refusal]:
    seen: set[tuple[str, str]] = set()
    for asked, setting in question.settings(CardValues):
        key = (setting.interface, setting.group)
        if key in seen:
            why = f"already has its {setting.group} set for another finding"
            yield asked.refusal(setting.interface, why)
        else:
            yield _one(asked, setting, (question.snapshot.ethtool or {}).get(setting.interface))
        seen.add(key)


def _one(request: Request, setting: CardValues, card: Card | None) -> Change | Refusal:
    now = _now(card or Card(), setting.group)
    unknown = [name for name in setting.values if name not in now]
    if unknown:
        why = f"has a driver that cannot set {', '.join(unknown)}"
        return request.refusal(setting.interface, why)
    before = {name: now[name] for name in setting.values}
    action = SetNic(setting.interface, setting.group, before, dict(setting.values))
    values = ", ".join(f"{name} {value}" for name, value in setting.values.items())
    instead = ", ".join(map(str, before.values()))
    return request.change(action, f"set {setting.interface} {values} instead of {instead}")


def _now(card: Card, group: str) -> Mapping[str, int]:
    if group == FEATURES:
        features = card.features or {}
        return {name: int(each.on) for name, each in features.items() if not each.fixed}
    found: Mapping[str, int] | None = getattr(card, group)
    return found or {}


FIX = Fix("card-settings", _plan)
