"""Admission: rate limits, the validation pipeline, the durable accept. Nothing answered ACCEPTED to is ever lost."""
