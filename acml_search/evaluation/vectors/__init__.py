"""How vectors are made, what they depend on, and how they are kept."""
