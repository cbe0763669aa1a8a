"""Write numbers with their nouns. Pure."""


def counted(number: int, noun: str) -> str:
    """Return *number* with *noun* in the singular or with an s: `1 trial`, `2,000 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
