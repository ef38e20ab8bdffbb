//! Modes in the notations of `chmod` and `mkdir -m`.

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode(Vec<Change>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Octal(u32),
    Symbolic {
        /// The affected bits.
        who: u32,
        how: How,
        /// `rwx` for everybody.
        what: u32,
        /// `X`: execution, for a folder or if somebody may already execute it.
        search: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Add,
    Remove,
    Set,
}

impl Mode {
    /// Parses `0755`, `u=rwx,go+rX`; the error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("the builtin engine does not follow the mode `{text}`: write it as in `0755`");
        if text.starts_with(|c: char| c.is_ascii_digit()) && text.len() <= 4 {
            let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777).ok_or_else(wrong)?;
            return Ok(Self(vec![Change::Octal(bits)]));
        }
        text.split(',').map(|part| symbolic(part).ok_or_else(wrong)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it is a number.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self.0.as_slice(), [Change::Octal(_)])
    }

    /// The bits after the change.
    pub(crate) fn apply(&self, bits: u32, folder: bool) -> u32 {
        self.0.iter().fold(bits, |bits, change| match change {
            // chmod(1): a number of up to four digits does not clear these bits of a folder.
            Change::Octal(octal) if folder => *octal | bits & 0o6000,
            Change::Octal(octal) => *octal,
            Change::Symbolic { who, how, what, search } => {
                let search = if *search && (folder || bits & 0o111 != 0) { 0o111 } else { 0 };
                let what = (what | search) & who;
                match how {
                    How::Add => bits | what,
                    How::Remove => bits & !what,
                    How::Set => bits & !who | what,
                }
            }
        })
    }
}

fn symbolic(text: &str) -> Option<Change> {
    let at = text.find(['+', '-', '='])?;
    let (who, rest) = text.split_at(at);
    let who = who.chars().try_fold(0, |bits, c| {
        Some(
            bits | match c {
                'u' => 0o700,
                'g' => 0o070,
                'o' => 0o007,
                'a' => 0o777,
                _ => return None,
            },
        )
    })?;
    let how = match rest.chars().next()? {
        '+' => How::Add,
        '-' => How::Remove,
        _ => How::Set,
    };
    let (mut what, mut search) = (0, false);
    for c in rest.chars().skip(1) {
        match c {
            'r' => what |= 0o444,
            'w' => what |= 0o222,
            'x' => what |= 0o111,
            'X' => search = true,
            _ => return None,
        }
    }
    // Without a class, it applies to everybody, except for the bits of a container's umask: 022.
    Some(Change::Symbolic { who: if at == 0 { 0o755 } else { who }, how, what, search })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_applied_as_chmod_does() {
        for (mode, before, folder, after) in [
            ("0755", 0o600, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("+w", 0o444, false, 0o644),
            ("a+rw", 0o600, false, 0o666),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("o-rwx,g=", 0o777, true, 0o700),
            ("1777", 0o755, true, 0o1777),
            ("755", 0o6775, true, 0o6755),
            ("755", 0o6775, false, 0o755),
        ] {
            assert_eq!(Mode::parse(mode).unwrap().apply(before, folder), after, "{mode}");
        }
        for mode in ["", "rwx", "u+s", "99", "77777", "00755", "u~x"] {
            Mode::parse(mode).unwrap_err();
        }
    }
}
