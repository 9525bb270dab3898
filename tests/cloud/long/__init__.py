"""More on the local cloud and its machines: real, and minutes long (`tox -e long`; CI runs it after `make test`)."""
