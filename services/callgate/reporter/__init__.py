"""The reporter: turns the whole life of an action into what BIGHUB learns from. Never on an action's path."""
