"""Whole outputs in files: `UPDATE_GOLDEN=1 pytest` writes them anew, for a person to read."""

import os


def same(path, text):
    """Assert that *text* is what the file *path* holds, but for empty lines at its end."""
    text = text.rstrip("\n") + "\n"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text)

    assert text == path.read_text()
