"""What is explored and shown: one state, one door for every change, one snapshot a change."""
