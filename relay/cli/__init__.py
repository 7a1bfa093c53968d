"""The command line: a module for each command; relay/cli/main.py has the list."""
