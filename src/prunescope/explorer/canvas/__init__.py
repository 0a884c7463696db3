"""The live picture: drawn, pointed at, measured in the page."""
