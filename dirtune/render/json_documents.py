"""JSON documents that a command builds key by key from several results.

A result that is a single struct declares its own schema. `dirtune.schemas` publishes all schemas.
"""

from typing import Literal, NotRequired, TypedDict


class LineDocument(TypedDict):
    """An interrupt line, as /proc/interrupts lists it."""

    irq: str
    chip: str | None
    actions: list[str]
    counts: list[int]
    total: int
    shared: bool | None
    """null if the table is truncated within the line's only name."""
    nic: bool | None
    """null if a name may or may not belong to a NIC, or if the table is truncated in this row."""
    per_second: float | None
    busiest_cpu: int | None
    """The CPU that took most of these interrupts; null if there were none, or if it is unknown."""
    busiest_percent: float | None
    text: str


class IrqsDocument(TypedDict):
    """The interrupt table, with the cost of handlers if they were probed."""

    schema: Literal["dirtune/irqs/1"]
    cpus: list[int]
    lines: list[LineDocument]
    handlers: NotRequired[object]
    handler_counts: NotRequired[object]


class DifferenceDocument(TypedDict):
    """One difference between two directors; a director without a value has null."""

    section: str
    name: str
    a: str | None
    b: str | None


class DifferencesDocument(TypedDict):
    """All differences between two directors."""

    schema: Literal["dirtune/difference/1"]
    a: str
    b: str
    differences: list[DifferenceDocument]
    unknown: list[str]


class CheckDocument(TypedDict):
    """One check of the catalogue."""

    id: str
    severity: str
    trust: str
    title: str
    page: str


class ChecksDocument(TypedDict):
    """The catalogue of checks."""

    schema: Literal["dirtune/checks/1"]
    checks: list[CheckDocument]


class PresetDocument(TypedDict):
    """A node's setting compared with the paper; `now` is null if the setting is unreadable."""

    setting: str
    now: str | None
    paper: str
    today: str
    will_do: bool | None
    why: str
    command: str | None


class PresetsDocument(TypedDict):
    """Each node's settings compared with the paper, by the name of the node."""

    schema: Literal["dirtune/presets/1"]
    nodes: dict[str, list[PresetDocument]]


class LabDocument(TypedDict):
    """The state of the lab; keys that describe a running lab are missing if none is running."""

    schema: Literal["dirtune/lab/1"]
    up: bool
    scenario: NotRequired[str]
    title: NotRequired[str]
    kernel: NotRequired[str]
    cpus: NotRequired[int]
    forwarding: NotRequired[str]
    nodes: NotRequired[dict[str, str]]
    ssh_config: NotRequired[str]
    plan: NotRequired[str]
    phase: NotRequired[str]
    ready: NotRequired[bool]
    boots: NotRequired[int]
    boot_s: NotRequired[float | None]
    command_line: NotRequired[str | None]
    backup: NotRequired[dict[str, bool | int | float | str | None]]
    """The last boot of the second director: its keys ready, boots, boot_s and command_line."""
    error: NotRequired[str | None]
