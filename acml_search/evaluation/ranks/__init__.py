"""The rank of each query's truth in a pool: who is ranked among what, and what the answers say."""
