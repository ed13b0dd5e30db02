"""One script for each question that the paper left open; each is one command: python -m experiments.NAME."""
