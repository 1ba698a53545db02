"""One module per benchmark: where the rows are, the prompt, the scorer, the protocol."""
