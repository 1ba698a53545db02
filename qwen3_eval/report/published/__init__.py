"""Scores that were published: read, set beside measured ones, and counted against them."""
