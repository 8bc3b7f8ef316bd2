"""The reader's language: fixed words, numbers and dates of a report in English, German or French."""
