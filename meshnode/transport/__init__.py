"""Floor 3: HTTP, TLS and mDNS; the network, one file per medium and direction."""
