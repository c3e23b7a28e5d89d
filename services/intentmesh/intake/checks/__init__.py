"""The checks of a submission, one small unit each with its reason, in layers from cheap to dear."""
