"""Templates, the matplotlib style and published scores."""
