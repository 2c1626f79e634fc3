from acml_search.index.directory import IndexDirectory as IndexDirectory  # shim
from acml_search.index.directory import check_sizes as check_sizes  # shim
