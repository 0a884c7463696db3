"""How scores are read, cut and written down at the speed of memory. Only the engine imports from here."""
