"""Dumps of real machines, where the collection is: it may not be copied into the project."""

import bz2
import csv
from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "../shared/fixtures"


def index():
    if not FIXTURES.exists():
        return []
    with (FIXTURES / "INDEX.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row for row in rows if row["kind"] == "interrupts"]


def text_of(row):
    raw = (FIXTURES / row["path"]).read_bytes()
    if row["path"].endswith(".bz2"):
        raw = bz2.decompress(raw)
    return raw.decode("utf-8", "backslashreplace")
