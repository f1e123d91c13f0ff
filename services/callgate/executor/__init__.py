"""The executor: gate, claim, check again, run, finish. The only writer of ends."""
