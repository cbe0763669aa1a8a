"""The presets of the paper on the nodes of a plan, as text and JSON."""

from collections.abc import Mapping, Sequence

import msgspec

from dirtune.change.presets import Judged
from dirtune.escape import one_line
from dirtune.render import cells
from dirtune.render.json_documents import PresetDocument, PresetsDocument

_SAID = {True: "will do", False: "change it", None: "yours to say"}
_HEADER = ("node", "setting", "now", "2001", "today", "")


def table(found: Mapping[str, Sequence[Judged]]) -> str:
    """Return each node's settings, then why and how of those that are not as they should be."""
    return _shown(found, "simple")


def markdown(found: Mapping[str, Sequence[Judged]]) -> str:
    """Return the same as Markdown."""
    return _shown(found, "github")


def document(found: Mapping[str, Sequence[Judged]]) -> str:
    """Return it under the schema dirtune/presets/1."""
    nodes: dict[str, list[PresetDocument]] = {
        node: [
            {
                "setting": preset.setting,
                "now": verdict.now,
                "paper": preset.paper,
                "today": preset.today,
                "will_do": verdict.will_do,
                "why": preset.why,
                "command": preset.command or None,
            }
            for preset, verdict in rows
        ]
        for node, rows in found.items()
    }
    told: PresetsDocument = {"schema": "dirtune/presets/1", "nodes": nodes}
    return msgspec.json.encode(told).decode()


def _shown(found: Mapping[str, Sequence[Judged]], style: str) -> str:
    rows = [
        (
            node,
            preset.setting,
            "not known" if verdict.now is None else verdict.now,
            preset.paper,
            preset.today,
            _SAID[verdict.will_do],
        )
        for node, judged in found.items()
        for preset, verdict in judged
    ]
    text = cells.table(rows, _HEADER, style)
    told = {
        preset.setting: preset
        for judged in found.values()
        for preset, verdict in judged
        if not verdict.will_do and verdict.now is not None
    }
    lines = [text]
    for preset in told.values():
        lines += ["", one_line(f"{preset.setting}: {preset.why}")]
        lines += [f"    {preset.command}"] if preset.command else []
    return "\n".join(lines)
