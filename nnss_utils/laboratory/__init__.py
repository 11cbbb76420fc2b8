"""The laboratory: experiments of equal training time on one small task, and the author's twenty claims."""
