"""What runs inside the wall of the executor."""
