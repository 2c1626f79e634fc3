"""Why a molecule was found: the facts of a hit's `why`, in words, in drawings and in plots."""
