"""The language of Callgate: events, ids, digest, home, states, topics and the codec. Pure: no I/O and no clock."""
