"""The live picture: drawing, pointing, and its size in the page."""
