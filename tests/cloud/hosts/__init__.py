"""What installs packages, bakes machine images or waits for deadlines: real, and minutes long (`tox -e hosts`)."""
