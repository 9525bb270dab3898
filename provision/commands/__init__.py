"""The commands read what the user types and print the answers. The modules beside this folder do the work."""
