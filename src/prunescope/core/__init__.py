"""What every room speaks of: what is asked, tensors, previews, errors, and how numbers are written."""
