"""Engines: things that continue token ids."""
