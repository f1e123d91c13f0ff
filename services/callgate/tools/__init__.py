"""For users: tools, the toolbox that holds them, and what is checked of a call before anybody is asked about it."""
