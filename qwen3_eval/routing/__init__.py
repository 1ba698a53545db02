"""What a mixture's router does with prompts, thinking and answers."""
