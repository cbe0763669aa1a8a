"""JSON is indented on a terminal, and one line in a pipe."""

import io
import json
import sys

import pytest
from click.testing import CliRunner

from dirtune.cli import _output, main

TEXT = '{"a": [1, 2.50, "\\u001b[2J", "é"], "b": {}}'


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def printed(monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    _output.result(TEXT, "json")
    return stream.getvalue()


@pytest.mark.parametrize(("stream", "lines"), [(io.StringIO, 1), (Terminal, 9)])
def test_the_form_differs_and_the_value_does_not(monkeypatch, stream, lines):
    text = printed(monkeypatch, stream())

    assert text.count("\n") == lines
    assert json.loads(text) == json.loads(TEXT)
    assert text.isascii()
    assert "2.50" in text


def test_an_event_is_one_line_on_a_terminal_too(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)

    _output.answer('{"a": 1}')

    assert stream.getvalue() == '{"a": 1}\n'


@pytest.mark.parametrize(
    "argv",
    [
        ("explain",),
        ("doctor",),
        ("lab", "status"),
    ],
    ids=" ".join,
)
def test_a_pipe_gets_one_line(argv, tmp_path, monkeypatch):
    monkeypatch.setenv("DIRTUNE_LAB", str(tmp_path))
    out = CliRunner().invoke(main, [*argv, "--format", "json"]).stdout

    assert out.count("\n") == 1
    assert json.loads(out)["schema"].startswith("dirtune/")
