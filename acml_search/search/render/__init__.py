"""Answers as people and programs read them: table, page, JSON, CSV, SDF."""
