//! The binary: verifies that it runs on its platform with nothing beside it.
//!
//! The flags request a static binary; the file shows whether the linker produced one.
//! The parser is our own: reading four facts in one header does not justify a crate that every fresh runner compiles.

use std::fmt;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use memchr::memmem;

use launchway_core::exit::{Exit, Failure, OrExit as _};

/// The platform of an image; the operating system is always Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// 64-bit x86.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Platform {
    /// The platform of a target triple. Fails with [`Exit::Usage`] if no image can be built for it.
    pub fn of_target(triple: &str) -> Result<Self> {
        let linux = triple.contains("-linux-");
        match triple.split('-').next() {
            Some("x86_64") if linux => Ok(Self::Amd64),
            Some("aarch64") if linux => Ok(Self::Arm64),
            _ => Err(Failure::new(
                Exit::Usage,
                format!("`target` is `{triple}`, but only x86_64 and aarch64 Linux images can be built"),
            )
            .into()),
        }
    }

    /// The name in the image configuration, a Go `GOARCH`.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name of the processor in Rust.
    pub fn processor(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// `e_machine` of the ELF header.
    fn machine(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture())
    }
}

/// Checks that the file is a program for the platform that needs no interpreter and no library.
///
/// Anything else is an error with [`Exit::CheckFailed`] that names the file and has a hint.
pub fn verify(path: &Path, platform: Platform) -> Result<()> {
    read(path)
        .and_then(|bytes| inspect(&bytes, platform))
        .with_context(|| format!("{} cannot go into an image", path.display()))
        .or_exit(Exit::CheckFailed)
}

/// The first of these folders whose path a program contains: another machine builds it in another folder, to other
/// bytes.
pub fn named<'folder>(binary: &Path, folders: &'folder [PathBuf]) -> Result<Option<&'folder Path>> {
    let bytes = read(binary)?;
    let is_named = |folder: &&PathBuf| memmem::find(&bytes, folder.as_os_str().as_bytes()).is_some();
    Ok(folders.iter().find(is_named).map(PathBuf::as_path))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if !path.exists() {
        bail!("cargo built no such file: check `package` and `binary` in the pipeline's configuration");
    }
    Ok(fs_err::read(path)?)
}

/// Whether a file is a machine-code program and not a script.
pub(super) fn is_elf(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    fs_err::File::open(path)?.take(4).read_to_end(&mut start)?;
    Ok(start == b"\x7fELF")
}

/// Applies the rules of [`verify`] to the bytes of a file: ELF-64 specification, program header and dynamic section.
fn inspect(bytes: &[u8], platform: Platform) -> Result<()> {
    const PT_DYNAMIC: u64 = 2;
    const PT_INTERP: u64 = 3;
    const DT_NULL: u64 = 0;
    const DT_NEEDED: u64 = 1;

    // Magic, 64 bits, little-endian: true of both platforms.
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        bail!("it is not a 64-bit little-endian ELF file: check `target` in the pipeline's configuration");
    }
    let machine = number(bytes, 18, 2)?;
    if machine != u64::from(platform.machine()) {
        bail!(
            "it is built for machine {machine}, but {platform} is {}: check `target` in the pipeline's configuration",
            platform.machine()
        );
    }
    let (table, entry_size, entries) = (number(bytes, 32, 8)?, number(bytes, 54, 2)?, number(bytes, 56, 2)?);
    for entry in 0..entries {
        let header = table.saturating_add(entry * entry_size);
        match number(bytes, header, 4)? {
            PT_INTERP => bail!(
                "it is linked dynamically (it needs an interpreter), but the image has none: build it with `-Ctarget-feature=+crt-static`"
            ),
            PT_DYNAMIC => {
                let (start, size) = (
                    number(bytes, header.saturating_add(8), 8)?,
                    number(bytes, header.saturating_add(32), 8)?,
                );
                for offset in (0..size).step_by(16) {
                    match number(bytes, start.saturating_add(offset), 8)? {
                        DT_NULL => break,
                        DT_NEEDED => bail!(
                            "it needs a shared library, but the image has none: build it with `-Ctarget-feature=+crt-static`"
                        ),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The little-endian number of `size` bytes, at most 8, at `offset`.
fn number(bytes: &[u8], offset: u64, size: usize) -> Result<u64> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let Some(field) = bytes.get(start..start.saturating_add(size)) else {
        bail!("its headers are cut off: build it again");
    };
    Ok(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests;
