"""This program's name in the Python package index, and the version of it that is installed.

The package index has had another project called `provision` since 2011, so the distribution has a name of its own. The
command and the folders are called `provision` all the same. A mend that installs an extra has to name the distribution:
by the command's name pip would install the other project.
"""

from importlib import metadata

NAME = "provision-spot"


def version(name: str = NAME) -> str:
    """The installed version; empty where the code runs from a source tree, or in an image that holds only its files."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
