//! One test binary: it links once, and the services it starts are shared. Each file is one command or one promise.
