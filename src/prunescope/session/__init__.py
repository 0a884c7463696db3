"""One exploration of one model: previews with cached rankings, steps, and plans."""
