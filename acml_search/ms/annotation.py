from acml_search.ms.fragmenter import HIGHEST as HIGHEST  # shim
from acml_search.ms.fragmenter import LOWEST as LOWEST  # shim
from acml_search.ms.fragmenter import AnnotatedSpectrum as Explained  # noqa: F401  # shim
from acml_search.ms.fragmenter import FragmentedMolecule as Breaking  # noqa: F401  # shim
from acml_search.ms.fragmenter import NeutralPeaks as Observed  # noqa: F401  # shim
from acml_search.ms.fragmenter import annotate_peaks as explain_peaks  # noqa: F401  # shim
from acml_search.ms.fragmenter import neutral_peaks as observe  # noqa: F401  # shim
from acml_search.ms.fragmenter import score_candidates as scores  # noqa: F401  # shim
