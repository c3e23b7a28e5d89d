"""The published client: typed calls with deadlines and retries, and watches that resume by themselves."""

from intentmesh.client.mesh import MeshClient

__all__ = ["MeshClient"]
