"""The notifier: tells people, where they already are, what waits for them. It answers nothing and holds nothing up."""
