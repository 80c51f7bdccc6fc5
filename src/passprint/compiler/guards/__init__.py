"""What a trace relied on, as generated Python that every call can afford. Free of torch's compiler."""
