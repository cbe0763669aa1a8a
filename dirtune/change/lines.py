"""Split the text of a file into lines. Pure."""


def lines_of(text: str) -> list[str]:
    """Return the lines of *text*; only a newline ends a line, unlike in `str.splitlines`."""
    return text.removesuffix("\n").split("\n") if text else []
