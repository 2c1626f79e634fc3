"""Earlier name of `ocsr.reader`."""

from acml_search.ocsr.reader import PictureReader  # shim

__all__ = ["PictureReader"]  # shim
