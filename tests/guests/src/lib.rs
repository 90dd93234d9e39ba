//! Components for tests of the platform; each file beside this one is a component of its own.
