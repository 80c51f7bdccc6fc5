"""What a trace depended on, derived from what the inlined code can read: the ledger of a stored program."""
