"""Packages that only some commands need, and the extra of acml-search that installs them."""

from __future__ import annotations

from importlib.util import find_spec

from acml_search.core.errors import ConfigError

_EXTRAS = {
    "fastapi": "serve",
    "fontTools": "train",
    "gcsfs": "stores",
    "matplotlib": "maps",
    "mcp": "serve",
    "prometheus_client": "serve",
    "pymilvus": "milvus",
    "pypdfium2": "pdf",
    "python_multipart": "serve",
    "s3fs": "stores",
    "sklearn": "properties",
    "umap": "umap",
    "uvicorn": "serve",
}
_NAMES = {
    "fontTools": "fonttools",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
}


def require(*modules: str, extra: str | None = None) -> None:
    """Raise ConfigError, naming the extra to install (`extra`, or the module's), unless all are there."""
    for module in modules:
        if find_spec(module) is None:
            name = extra or _EXTRAS[module]
            raise ConfigError(
                f'{_NAMES.get(module, module)} is not installed: pip install "acml-search[{name}]"'
            )
