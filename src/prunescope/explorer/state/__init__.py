"""The explorer's state: one entry point for every change, and one snapshot per change."""
