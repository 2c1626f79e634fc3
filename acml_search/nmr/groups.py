from acml_search.nmr.assign import Groups as Groups  # shim
from acml_search.nmr.assign import group_atoms as group_atoms  # shim
