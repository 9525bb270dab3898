"""Whether the product's promises hold in the user's own account: each tried on a small machine, and judged by what AWS
and the machine say, not by what we asked for."""
