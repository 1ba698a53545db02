"""`compare`: runs side by side, and the questions that turned between them."""
