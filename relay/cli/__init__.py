"""One file per command of `relay`; each has `command`, named in relay/cli/main.py."""
