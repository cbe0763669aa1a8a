"""The work of each command, without options: nothing here reads them or prints."""
