"""Shortlists re-scored peak by peak, and what cosine and evidence weigh in the sum."""
