from acml_search.nmr.assign import ANY as ANY  # shim
from acml_search.nmr.assign import Bits as Bits  # shim
from acml_search.nmr.assign import DeptPeaks as Observed  # noqa: F401  # shim
from acml_search.nmr.assign import carbon_classes as word  # noqa: F401  # shim
from acml_search.nmr.assign import dept_peaks as observed  # noqa: F401  # shim
from acml_search.nmr.assign import has_dept as is_told  # noqa: F401  # shim
