"""What installs packages, bakes machine images, waits for deadlines, or runs each command of the documents: real, and
minutes long (`tox -e hosts`)."""
