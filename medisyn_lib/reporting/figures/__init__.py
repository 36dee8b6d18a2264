"""The figures, one file a notebook: titles, labels and legends of each are here."""
