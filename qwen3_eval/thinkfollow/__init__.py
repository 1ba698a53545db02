"""`thinkfollow`: dialogues in which the mode is switched, asked, judged turn by turn, and audited."""
