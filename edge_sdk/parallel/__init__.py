"""Several processes that train one network: what they say to each other, and how they are started."""
