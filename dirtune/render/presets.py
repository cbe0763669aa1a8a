"""Render the settings of a plan's nodes compared with those of the 2001 paper."""

from collections.abc import Mapping, Sequence

import msgspec

from dirtune.change.presets import JudgedPreset
from dirtune.escape import one_line
from dirtune.render import cells
from dirtune.render.json_documents import PresetDocument, PresetsDocument

_UNKNOWN = "unknown"
_VERDICTS = {True: "ok", False: "change", None: "your choice"}
_HEADER = ("node", "setting", "now", "in 2001", "advice today", "verdict")


def table(nodes: Mapping[str, Sequence[JudgedPreset]]) -> str:
    """Return each node's settings, then a reason and a command for each setting to change."""
    return _shown(nodes, "simple")


def markdown(nodes: Mapping[str, Sequence[JudgedPreset]]) -> str:
    """Return each node's settings as a Markdown table, then the reasons and the commands."""
    return _shown(nodes, "github")


def document(nodes: Mapping[str, Sequence[JudgedPreset]]) -> str:
    """Return each node's settings as JSON in the schema `dirtune/presets/1`."""
    documents: dict[str, list[PresetDocument]] = {
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
        for node, rows in nodes.items()
    }
    presets: PresetsDocument = {"schema": "dirtune/presets/1", "nodes": documents}
    return msgspec.json.encode(presets).decode()


def _shown(nodes: Mapping[str, Sequence[JudgedPreset]], style: str) -> str:
    rows = [
        (
            node,
            preset.setting,
            _UNKNOWN if verdict.now is None else verdict.now,
            preset.paper,
            preset.today,
            _UNKNOWN if verdict.now is None else _VERDICTS[verdict.will_do],
        )
        for node, presets in nodes.items()
        for preset, verdict in presets
    ]
    text = cells.table(rows, _HEADER, style)
    explained = {
        preset.setting: preset
        for presets in nodes.values()
        for preset, verdict in presets
        if not verdict.will_do and verdict.now is not None
    }
    lines = [text]
    for preset in explained.values():
        lines += ["", one_line(f"{preset.setting}: {preset.why}")]
        lines += [f"    {preset.command}"] if preset.command else []
    return "\n".join(lines)
