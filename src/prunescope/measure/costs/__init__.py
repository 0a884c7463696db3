"""What a state of the model costs: parameters, bytes, FLOPs."""
