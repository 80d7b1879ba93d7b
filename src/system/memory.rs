//! Memory of this process: what a start needed, and nothing needs while the daemons run, goes back to the kernel.

use std::fs;

/// Gives back what was freed, which the C library keeps for later (malloc_trim(3)), and the pages of this program's code: those
/// that are needed come back from the page cache at once.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called at any time by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (begin, end) in code(&maps) {
        let Ok(begin) = usize::try_from(begin) else { continue };
        let Ok(end) = usize::try_from(end) else { continue };
        // SAFETY: a mapping of a file that can be executed and not written holds what the file holds: a page that is dropped is
        // read from there again when it is touched (madvise(2)).
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(begin),
                end - begin,
                libc::MADV_DONTNEED,
            );
        }
    }
}

/// The mappings of files that can be executed and not written, as addresses (proc_pid_maps(5)).
fn code(maps: &str) -> Vec<(u64, u64)> {
    let mapping = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (begin, end) = fields.first()?.split_once('-')?;
        let is_code = fields.get(1) == Some(&"r-xp") && fields.get(5).is_some_and(|path| path.starts_with('/'));
        let address = |text: &str| u64::from_str_radix(text, 16).ok();
        Some((address(begin)?, address(end)?)).filter(|_| is_code)
    };
    maps.lines().filter_map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_can_be_executed_and_comes_from_a_file() {
        let maps = "55d0c000-55d0d000 r--p 00000000 08:01 1 /usr/local/bin/mailroom\n\
                    55d0d000-55d0f000 r-xp 00001000 08:01 1 /usr/local/bin/mailroom\n\
                    7ffc0000-7ffc2000 r-xp 00000000 00:00 0 [vdso]\n\
                    7f000000-7f001000 rw-p 00000000 00:00 0\n";
        assert_eq!(code(maps), [(0x55d0_d000, 0x55d0_f000)]);
        give_back();
        assert!(
            !code(&fs::read_to_string("/proc/self/maps").unwrap()).is_empty(),
            "the process goes on"
        );
    }
}
