from acml_search.library.tables import MOLECULES as MOLECULES  # shim
from acml_search.library.tables import molecules_table as molecules_table  # shim
from acml_search.library.tables import rejects_table as rejects_table  # shim
from acml_search.library.tables import write_parquet as write_parquet  # shim
