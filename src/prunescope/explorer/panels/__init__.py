"""Controls and panels: each renders the snapshot, and nothing else writes its widgets."""
