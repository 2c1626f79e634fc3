"""`python -m benchmarks suite`: files of questions, asked together from one embedding pass."""
