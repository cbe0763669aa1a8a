"""Host fixes: plan (pure), apply, journal, undo."""
