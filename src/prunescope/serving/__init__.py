"""How the dashboard reaches a browser: an address, a notebook, and a Voilà server that shows only that."""
