"""Background tasks: what is measured after the picture is drawn, cancelled when outdated."""
