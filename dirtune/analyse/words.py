"""Write numbers with their nouns. Pure."""


def counted(number: int, noun: str) -> str:
    """Return *number* with *noun* in the singular or with an s: `1 trial`, `2,000 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def named_p(p: float | None) -> str:
    """Return a p-value for a sentence: `p = 0.031`, `p < 0.001` or `p unknown`."""
    if p is None:
        return "p unknown"
    return "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"
