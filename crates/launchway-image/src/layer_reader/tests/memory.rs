//! Layers that were made to fill the memory, read in a process whose memory is measured.

use super::*;

/// Set in the child.
const CHILD: &str = "MEASURE_MEMORY";
/// In kB. What the process takes before it reads anything counts too.
const MOST: u64 = 100_000;

/// A tar that is made while it is read.
struct Endless<F> {
    make: F,
    number: u64,
    piece: std::io::Cursor<Vec<u8>>,
}

impl<F: FnMut(u64) -> Vec<u8>> Read for Endless<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.piece.read(buffer)? {
            0 => {
                self.piece = std::io::Cursor::new((self.make)(self.number));
                self.number += 1;
                self.piece.read(buffer)
            }
            read => Ok(read),
        }
    }
}

fn refused(make: impl FnMut(u64) -> Vec<u8>, expected: &str) {
    let interrupt = Interrupt::default();
    let mut reader = LayerReader::new(&interrupt, Bounds::IMAGE);
    let endless = Endless { make, number: 0, piece: std::io::Cursor::default() };
    let error = format!("{:#}", Files::default().add(endless, &mut reader).unwrap_err());
    assert!(error.contains(expected), "{error}");
}

/// What the process took at most, in kB.
fn peak() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the child is this very test")]
fn no_layer_takes_much_memory() {
    if std::env::var_os(CHILD).is_none() {
        // More than is measured, less than would hurt: memory that is mapped and not used counts here.
        let (_, module) = module_path!().split_once("::").unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -v 2000000; exec \"$@\"", "sh"])
            .arg(std::env::current_exe().unwrap())
            .args([&format!("{module}::no_layer_takes_much_memory"), "--exact", "--nocapture"])
            .env(CHILD, "yes")
            .output()
            .unwrap();
        let reported = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && reported.contains("1 passed"), "{reported}");
        return;
    }
    let path = |path: String| pax(&[("path", path.as_bytes())]);
    let many = "has more files than a plan can hold";
    refused(|n| file(&format!("{n}")), many);
    refused(|n| [path(format!("{}f", format!("{n}/").repeat(127))), file("f")].concat(), many);
    let far = "x/".repeat(2047);
    let link = |n| entry(format!("{n}").as_bytes(), b'2', b"x", b"");
    refused(|n| [pax(&[("linkpath", far.as_bytes())]), link(n)].concat(), many);
    for kind in [b'x', b'L', b'K'] {
        refused(|_| header(b"h", kind, b"", 1 << 33), "a header in it has 8589934592 bytes");
    }
    // Headers as long as they may be, one after another.
    let longest = vec![b'a'; (1 << 20) - 100];
    refused(|n| if n < 100 { pax(&[("path", &longest)]) } else { file("f") }, "has a path of 1048476 bytes");
    assert!(peak() < MOST, "{} kB", peak());
}
