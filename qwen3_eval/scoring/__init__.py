"""Scorers: from a sample and the text of an answer to a verdict."""
