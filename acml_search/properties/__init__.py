"""Properties of molecules, predicted from what the graph encoder knows of them."""
