"""The whole network: how sensitive its layers are, and how much of each a goal prunes. No widgets."""
