from acml_search.library.standardise import MAX_INPUT as MAX_INPUT  # shim
from acml_search.library.standardise import Accepted as Accepted  # shim
from acml_search.library.standardise import Rejected as Rejected  # shim
from acml_search.library.standardise import prepare as prepare  # shim
