"""The start with a trace: Dynamo goes through the model, repeated blocks once, and what came out is recorded."""
