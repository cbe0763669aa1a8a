"""Data in, text out; nothing here prints."""
