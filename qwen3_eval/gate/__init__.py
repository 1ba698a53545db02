"""`gate`: a candidate judged against a baseline, for a release pipeline."""
