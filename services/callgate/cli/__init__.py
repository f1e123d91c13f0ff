"""The command line: one file per command group; the composition of processes is in `assembly`."""
