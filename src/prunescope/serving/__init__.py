"""Serve the dashboard: a listening address, a notebook, and a Voilà server for that notebook only."""
