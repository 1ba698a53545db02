"""`policy`: ways to choose a thinking budget per question, judged on stored traces."""
