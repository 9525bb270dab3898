"""The local cloud, its users and its image, as in the tests of the cloud.

These tests have a session of their own: the clouds of two sessions in one process would have one name.
"""

from tests.cloud.conftest import another, emulator, image, laptop, pytest_collection_modifyitems

__all__ = ["another", "emulator", "image", "laptop", "pytest_collection_modifyitems"]
