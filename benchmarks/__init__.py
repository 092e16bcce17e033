"""Speed and memory, measured; each script prints its table and the machine it ran on."""
