//! Tests of the whole: the command line and the library as their users meet them.
