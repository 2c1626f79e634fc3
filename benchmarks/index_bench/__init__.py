"""`bench index`: how well, how fast and in how much room engines find the nearest of many vectors."""
