from acml_search.modalities import get  # shim
from acml_search.search.request import Observation  # noqa: F401  # shim


def of_record(modality, record, given):  # type: ignore[no-untyped-def]  # shim
    return get(modality).observe(record, given)  # shim
