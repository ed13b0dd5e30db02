"""One script for each question that the paper leaves open. Run it with: python -m experiments.NAME."""
