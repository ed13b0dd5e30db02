"""One module per program: it parses the command line, calls the library and prints the results."""
