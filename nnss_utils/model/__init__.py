"""The model: settings, codification, network inputs, networks, their prediction, and the file that holds it all."""
