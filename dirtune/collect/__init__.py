"""One module per kernel source: `read_x(host)` reads it, the pure `parse_x(text)` parses it."""
