//! Long files of one entry a line, of which little differs from what they shall hold.

use std::fs::File;
use std::io;
use std::iter::zip;
use std::os::unix::fs::FileExt;

/// What is compared at once.
const CHUNK: usize = 64 * 1024;

/// The lines of a file, and those of a text, from the first that differs to the last one: what is before and behind them is the
/// same in both.
pub fn that_differ<'a>(file: &File, text: &'a str) -> io::Result<(String, &'a str)> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let both = Both {
        file,
        length,
        text: text.as_bytes(),
    };
    let same = both.same_before()?;
    let before = &both.text[..same];
    let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let same = both.same_behind(begin)?;
    let behind = &both.text[both.text.len() - same..];
    let end = behind
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |first| same - first - 1);
    let lines = both.read(begin, length - begin - end)?;
    let lines = String::from_utf8(lines).map_err(io::Error::other)?;
    Ok((lines, &text[begin..text.len() - end]))
}

struct Both<'a> {
    file: &'a File,
    length: usize,
    text: &'a [u8],
}

impl Both<'_> {
    fn read(&self, from: usize, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, from as u64)?;
        Ok(bytes)
    }

    /// How many bytes are the same from the beginning on.
    fn same_before(&self) -> io::Result<usize> {
        let most = self.length.min(self.text.len());
        let mut same = 0;
        while same < most {
            let chunk = self.read(same, CHUNK.min(most - same))?;
            let text = &self.text[same..same + chunk.len()];
            if chunk != text {
                return Ok(same + zip(&chunk, text).take_while(|(one, other)| one == other).count());
            }
            same += chunk.len();
        }
        Ok(same)
    }

    /// How many are the same at the end, of those that follow `begin`.
    fn same_behind(&self, begin: usize) -> io::Result<usize> {
        let most = self.length.min(self.text.len()) - begin;
        let mut same = 0;
        while same < most {
            let size = CHUNK.min(most - same);
            let chunk = self.read(self.length - same - size, size)?;
            let end = self.text.len() - same;
            let text = &self.text[end - size..end];
            if chunk != text {
                let backwards = zip(chunk.iter().rev(), text.iter().rev());
                return Ok(same + backwards.take_while(|(one, other)| one == other).count());
            }
            same += size;
        }
        Ok(same)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn differing<'a>(old: &str, new: &'a str) -> (String, &'a str) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(old.as_bytes()).unwrap();
        that_differ(&file, new).unwrap()
    }

    #[test]
    fn what_is_the_same_is_left_out() {
        let differ = |old: &str, new: &str| {
            let (old, new) = differing(old, new);
            (old, new.to_owned())
        };
        let both = |old: &str, new: &str| (old.to_owned(), new.to_owned());
        assert_eq!(differ("a\nb\nc\n", "a\nb\nc\n"), both("", ""));
        assert_eq!(differ("a\nbx\nc\n", "a\nby\nc\n"), both("bx\n", "by\n"));
        assert_eq!(differ("", "a\n"), both("", "a\n"));
        let long = |middle: &str| format!("{}{middle}{}", "before\n".repeat(20_000), "behind\n".repeat(20_000));
        assert_eq!(differ(&long("old\n"), &long("new one\n")), both("old\n", "new one\n"));
    }

    proptest! {
        #[test]
        fn all_that_differs_is_there(old in "([ab]{0,2}\n){0,6}", new in "([ab]{0,2}\n){0,6}") {
            let (in_old, in_new) = differing(&old, &new);
            let begin = in_new.as_ptr() as usize - new.as_ptr() as usize;
            let (before, behind) = (&new[..begin], &new[begin + in_new.len()..]);
            prop_assert_eq!(format!("{before}{in_old}{behind}"), old);
            for part in [&in_old, in_new, before, behind] {
                prop_assert!(part.is_empty() || part.ends_with('\n'));
            }
        }
    }
}
