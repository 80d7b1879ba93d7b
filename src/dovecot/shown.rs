//! What `doveconf -n` shows: all settings that are not Dovecot's own defaults, in their blocks.

/// A setting and where it stands.
pub(super) struct Shown<'a> {
    /// The block in which it stands, such as `service imap`; nothing at the top.
    pub(super) block: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// Its value.
    pub(super) value: &'a str,
}

impl Shown<'_> {
    /// Whether it switches a protocol off.
    pub(super) fn switches_off(&self, protocol: &str) -> bool {
        match (self.block, self.name) {
            ("", "protocols") => !self.value.split_whitespace().any(|served| served == protocol),
            ("protocols", name) => name == protocol && self.value == "no",
            _ => false,
        }
    }
}

/// All settings, in their order.
pub(super) fn settings(shown: &str) -> Vec<Shown<'_>> {
    let (mut blocks, mut settings) = (Vec::new(), Vec::new());
    for line in shown.lines().map(str::trim) {
        if let Some(block) = line.strip_suffix(" {") {
            blocks.push(block);
        } else if line == "}" {
            blocks.pop();
        } else if let Some((name, value)) = line.split_once(" = ") {
            let block = blocks.last().copied().unwrap_or_default();
            settings.push(Shown { block, name, value });
        }
    }
    settings
}
