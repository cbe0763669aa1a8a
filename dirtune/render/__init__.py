"""Functions that turn data into text. Nothing here prints."""
