"""The charts of a page that answer to hover and toggle, and their still pictures."""
