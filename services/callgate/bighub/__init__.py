"""BIGHUB, in our words: asking it (`client`), and reading answers in which an unknown is never a yes (`resolve`)."""
