"""Turn results into text. No module here prints."""
