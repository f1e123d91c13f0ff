"""The rest of BIGHUB's API, a family of endpoints a module: each a function from a call to the answer's JSON."""
