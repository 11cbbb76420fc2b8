"""Signal processing: short-time Fourier transform, phase demodulation and power normalization, on NumPy arrays."""
