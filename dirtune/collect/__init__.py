"""One module per kernel source: `read_x(host)` is one line, `parse_x(text)` is pure."""
