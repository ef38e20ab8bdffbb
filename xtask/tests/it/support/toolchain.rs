//! A base image with this machine's Rust, linker and C library, since none can be pulled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{program, try_program};

/// The files of the image by their place in it, without a leading `/`.
type Files = BTreeMap<String, PathBuf>;

/// What the linker needs of the C compiler and of the C library to make a static program.
const PARTS: [&str; 20] = [
    "liblto_plugin.so",
    "libgcc.a",
    "libgcc_eh.a",
    "crtbegin.o",
    "crtbeginS.o",
    "crtbeginT.o",
    "crtend.o",
    "crtendS.o",
    "crt1.o",
    "rcrt1.o",
    "Scrt1.o",
    "crti.o",
    "crtn.o",
    "libc.a",
    "libm.a",
    "libmvec.a",
    "libpthread.a",
    "libdl.a",
    "librt.a",
    "libutil.a",
];

/// Makes the image; an error says what this machine lacks. Rust goes to `/usr/local`.
pub(crate) fn import(name: &str, label: &str, folder: &Path) -> Result<(), String> {
    let files = files(folder)?;
    let archive = folder.join("toolchain.tar");
    let mut tar = tar::Builder::new(fs_err::File::create(&archive).unwrap());
    for (place, file) in files {
        tar.append_path_with_name(file, place).unwrap();
    }
    tar.append_dir("tmp", std::env::temp_dir()).unwrap();
    tar.into_inner().unwrap();
    let path = "ENV PATH=/usr/local/bin:/usr/bin:/bin";
    let label = format!("LABEL {label}");
    let archive = archive.to_str().unwrap();
    try_program("docker", &["import", "--change", path, "--change", &label, archive, name], folder).map(drop)
}

fn files(folder: &Path) -> Result<Files, String> {
    let sysroot = PathBuf::from(program("rustc", &["--print", "sysroot"], folder));
    let standard = "lib/rustlib/x86_64-unknown-linux-gnu";
    let mut files = Files::new();
    let mut programs = vec!["/bin/sh".to_owned()];
    let mut add = |place: String, file: PathBuf| {
        files.insert(place, file);
    };
    for name in [
        "bin/rustc",
        "bin/cargo",
        &format!("{standard}/bin/rust-lld"),
        &format!("{standard}/bin/gcc-ld/ld.lld"),
    ] {
        add(format!("usr/local/{name}"), sysroot.join(name));
        programs.push(sysroot.join(name).display().to_string());
    }
    // The compiler's libraries, and of the standard library what is linked statically.
    for (under, is_wanted) in [("lib", true), (&format!("{standard}/lib"), false)] {
        for entry in fs_err::read_dir(sysroot.join(under)).unwrap() {
            let (path, name) =
                (entry.as_ref().unwrap().path(), entry.unwrap().file_name().into_string().unwrap());
            if path.is_file() && name.contains(".so") == is_wanted {
                add(format!("usr/local/{under}/{name}"), path);
            }
        }
    }
    let linked = ["collect2", "ld", "lto-wrapper"]
        .map(|name| try_program("cc", &[&format!("-print-prog-name={name}")], folder));
    for found in linked {
        let found = found?;
        programs.push(if found.starts_with('/') { found } else { format!("/usr/bin/{found}") });
    }
    programs.push("/usr/bin/cc".to_owned());
    let mut parts: Vec<String> = PARTS.map(str::to_owned).to_vec();
    let libc = try_program("cc", &["-print-file-name=libc.a"], folder)?;
    let beside =
        Path::new(&libc).parent().filter(|above| above.is_absolute()).ok_or("no static C library")?;
    // `libm.a` is a list of two others, one of them with the version in its name.
    let names =
        fs_err::read_dir(beside).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    parts.extend(names.filter(|name| name.starts_with("libm-")));
    for part in parts {
        let path = PathBuf::from(try_program("cc", &[&format!("-print-file-name={part}")], folder)?);
        // What is not found is printed as it is.
        if path.is_absolute() {
            let above = fs_err::canonicalize(path.parent().unwrap()).unwrap();
            add(above.join(part).display().to_string().trim_start_matches('/').to_owned(), path);
        }
    }
    for name in programs {
        for word in program("ldd", &[&name], folder).split_whitespace() {
            if word.starts_with('/') && !word.starts_with(sysroot.to_str().unwrap()) {
                add(word.trim_start_matches('/').to_owned(), PathBuf::from(word));
            }
        }
        if !name.starts_with(sysroot.to_str().unwrap()) {
            add(name.trim_start_matches('/').to_owned(), PathBuf::from(name));
        }
    }
    Ok(files)
}
