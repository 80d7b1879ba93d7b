//! Memory of this process.

/// Gives back to the kernel what was freed: the accounts of a start are needed by nobody while the daemons run, and the C library
/// keeps such pieces for later (malloc_trim(3)).
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called at any time by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
