"""Playing recorded agent runs through the gate, as a load, a demonstration and a proof."""
