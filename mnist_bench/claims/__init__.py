"""Whether the paper's claims hold here."""
