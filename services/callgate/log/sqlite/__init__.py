"""The embedded engine: SQLite in WAL mode, one file on a local disk, the same promises as any other engine.

Declared different: one host; a process that is stopped (not killed) in a transaction holds up all others until it
goes on or dies; one writer at a time (a unit is one `BEGIN IMMEDIATE` transaction); gapless offsets; no open
transactions to wait for. Several processes may share a file.
"""
