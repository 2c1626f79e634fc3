from acml_search.ms.fragmenter import N_CODES as N_CODES  # shim
from acml_search.ms.fragmenter import SHIFTS as SHIFTS  # shim
from acml_search.ms.fragmenter import DescribedFragments as Described  # noqa: F401  # shim
from acml_search.ms.fragmenter import FragmentMasses as Masses  # noqa: F401  # shim
from acml_search.ms.fragmenter import describe as describe  # shim
from acml_search.ms.fragmenter import feature_index as index_of  # noqa: F401  # shim
