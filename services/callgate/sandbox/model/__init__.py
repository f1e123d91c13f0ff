"""A model behind the Responses API: deterministic, scripted, and as strict as the real one about what it is sent."""
