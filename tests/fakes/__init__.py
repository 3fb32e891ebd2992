"""Doubles of what is around: a clock that tells who sleeps, a caller in a thread, cores built by hand."""
