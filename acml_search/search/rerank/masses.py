from acml_search.modalities.ms import MassReranker  # noqa: F401  # shim
