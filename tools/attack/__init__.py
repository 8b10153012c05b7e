"The standing attack suite; see README.md."
