"""The mesh: one distribution, one package a room (see the README for the map)."""
