"""The worker: fetch, decode, lane, handle, group commit. Handlers return effects; only the worker writes."""
