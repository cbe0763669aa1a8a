"""The work of each command; the modules here neither read options nor print."""
