from acml_search.ms.fragmenter import FragmentationModel as Fragmentation  # noqa: F401  # shim
from acml_search.ms.fragmenter import read_model as read_fragmentation  # noqa: F401  # shim
from acml_search.ms.fragmenter import write_model as write_fragmentation  # noqa: F401  # shim
