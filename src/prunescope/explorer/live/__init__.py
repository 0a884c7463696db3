"""Background work: what is measured after the picture, given up when outdated."""
