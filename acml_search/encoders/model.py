"""Earlier name of `encoders.checkpoint`."""

from acml_search.encoders.checkpoint import BATCH, DualEncoder, Model, Tower, load_model, save_model  # shim

__all__ = ["BATCH", "DualEncoder", "Model", "Tower", "load_model", "save_model"]  # shim
