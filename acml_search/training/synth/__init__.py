"""Pictures of structures to train a reader on, and structures as a reader gets them wrong."""
