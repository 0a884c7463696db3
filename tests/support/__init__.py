"""What tests of several rooms stand on: servers and their visitors, checkpoint files, small networks."""
