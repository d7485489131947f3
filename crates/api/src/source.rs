//! Group file, to be written.
