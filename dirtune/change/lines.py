"""The lines of a file of this machine. Pure."""


def lines_of(text: str) -> list[str]:
    """Return the lines of a file's *text*; what else Python takes for a line's end is none."""
    return text.removesuffix("\n").split("\n") if text else []
