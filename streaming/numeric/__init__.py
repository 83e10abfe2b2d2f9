"""Pure arrays and words: codecs, resampling, CTC, vocabularies, error rates."""
