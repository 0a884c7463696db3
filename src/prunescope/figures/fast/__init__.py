"""What is drawn around matplotlib for speed; each module says which line puts matplotlib's own back."""
