"""Faster replacements of matplotlib's drawing; each module says how to restore matplotlib's own."""
