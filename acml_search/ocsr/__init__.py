"""Pictures of structures: from any picture file to ink, and from what was recognised to a structure."""
