"""One module for each program: it parses the command line, calls the library and prints what came out."""
