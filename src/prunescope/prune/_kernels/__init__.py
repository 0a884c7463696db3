"""Kernels that read, cut and write scores at memory speed. Only the engine imports from here."""
