"""Property prediction measured: frozen embeddings and their rivals, the same splits, the same heads."""
