"""What a state of the model costs: numbers, bytes, operations."""
