from acml_search.nmr.parser import MAX_CHARACTERS as MAX_CHARACTERS  # shim
from acml_search.nmr.parser import read_nmr_text as read_nmr_text  # shim
