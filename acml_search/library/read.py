from acml_search.library.source import Row as Row  # shim
from acml_search.library.stream import Library as Library  # shim
from acml_search.library.stream import default_library as default_library  # shim
from acml_search.library.stream import open_library as open_library  # shim
