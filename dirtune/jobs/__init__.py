"""What each command does: no options are read here and nothing is printed."""
