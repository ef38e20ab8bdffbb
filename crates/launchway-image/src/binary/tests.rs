use super::*;

/// An ELF-64 header, program headers of these types, and a dynamic section with these tags at its end.
fn elf(machine: u16, headers: &[u32], tags: &[u64]) -> Vec<u8> {
    let dynamic = 64 + 56 * headers.len();
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64, 0);
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
    bytes[56..58].copy_from_slice(&u16::try_from(headers.len()).unwrap().to_le_bytes());
    for kind in headers {
        let mut header = [0; 56];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[8..16].copy_from_slice(&(dynamic as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(16 * tags.len() as u64).to_le_bytes());
        bytes.extend(header);
    }
    for tag in tags {
        bytes.extend(tag.to_le_bytes());
        bytes.extend([0; 8]);
    }
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    inspect(bytes, Platform::Amd64).unwrap_err().to_string()
}

#[test]
fn a_static_program_passes() {
    inspect(&elf(62, &[1, 1], &[]), Platform::Amd64).unwrap();
    // Static and position-independent: a dynamic section without needs; what follows its end does not count.
    inspect(&elf(62, &[1, 2], &[5, 0, 1]), Platform::Amd64).unwrap();
    inspect(&elf(183, &[1], &[]), Platform::Arm64).unwrap();
}

#[test]
fn what_cannot_run_alone_is_refused() {
    assert!(refusal(&elf(62, &[1, 3], &[])).contains("linked dynamically"));
    assert!(refusal(&elf(62, &[2], &[5, 1, 0])).contains("needs a shared library"));
    assert!(refusal(&elf(183, &[1], &[])).contains("it is built for machine 183, but linux/amd64 is 62"));
    assert!(refusal(b"#!/bin/sh\n").contains("not a 64-bit little-endian ELF"));
    assert!(refusal(b"\x7fELF\x01\x01").contains("not a 64-bit"));
}

#[test]
fn no_prefix_of_a_program_panics() {
    let whole = elf(62, &[1, 2], &[5, 0]);
    for length in 0..64 + 56 * 2 {
        inspect(&whole[..length], Platform::Amd64).unwrap_err();
    }
    let mut far = elf(62, &[2], &[]);
    far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(refusal(&far).contains("headers are cut off"));
}

#[test]
fn an_error_names_the_file() {
    let error = verify(Path::new("/bin/true"), Platform::Amd64).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::CheckFailed);
    assert!(error.to_string().starts_with("/bin/true cannot go into an image: "), "{error}");
    let error = verify(Path::new("/no/such/file"), Platform::Amd64).unwrap_err();
    assert!(error.to_string().contains("/no/such/file"), "{error}");
}

#[test]
fn a_platform_is_that_of_the_target() {
    assert_eq!(Platform::of_target("x86_64-unknown-linux-gnu").unwrap().to_string(), "linux/amd64");
    assert_eq!(Platform::of_target("aarch64-unknown-linux-musl").unwrap().to_string(), "linux/arm64");
    for bad in ["riscv64gc-unknown-linux-gnu", "x86_64-apple-darwin", ""] {
        assert_eq!(Exit::of(&Platform::of_target(bad).unwrap_err()), Exit::Usage);
    }
}
