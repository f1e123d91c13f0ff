"""The log: one port and its engines. `connect` (in `log.address`) opens the engine that an address names."""
