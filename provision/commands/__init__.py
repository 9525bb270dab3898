"""The commands: words to and from the user. What is done is in the modules beside this folder."""
