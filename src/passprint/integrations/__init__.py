"""Other people's doors: one package a host. Each imports its host lazily, and fails soft."""
