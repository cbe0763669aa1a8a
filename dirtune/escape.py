"""Make text from a machine harmless for the terminal or the JSON in which it is shown.

Handlers, processes, interfaces, hosts and files can have any name, and a terminal obeys an escape
sequence in a name. Characters that Python calls printable are shown unchanged. All others are
shown as the escapes of a Python string (backslash, x, 1b): control characters, invisible
characters, those that change the direction of text, lone surrogates, and every space except the
plain one.
"""

import re

_BEYOND_ASCII = re.compile(r"[^\n -~]")


def visible(text: str) -> str:
    """Escape everything in *text* that a terminal would obey; keep newlines and tabs."""
    return "\n".join(
        "\t".join(map(one_line, line.split("\t"))) if not line.isprintable() else line
        for line in text.split("\n")
    )


def one_line(text: str) -> str:
    """Return *text* as one line, and escape everything that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def ascii_json(text: str) -> str:
    """Return the JSON *text* with every character beyond ASCII as a JSON escape."""
    return _BEYOND_ASCII.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n] << 8 | units[n + 1]:04x}" for n in range(0, len(units), 2))
