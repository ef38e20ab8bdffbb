use super::*;
use crate::context::Context;
use launchway_image::layer::Owner;

impl BuiltinBuild {
    /// The same build of a program that is already there and cannot be started.
    pub(crate) fn without_children(self) -> Self {
        let compile = Compile { call: Call::new("true"), ..self.compile };
        Self { compile, smoke: SmokeRun::Skip("the program is no server".to_owned()), ..self }
    }

    /// The same build with another compiler.
    pub(crate) fn with_compiler(self, program: &str) -> Self {
        Self { compile: Compile { call: Call::new(program), ..self.compile }, ..self }
    }
}

#[test]
fn one_file_is_named() {
    let file = |path: &str| {
        let entry = Entry { kind: Kind::File("x".into()), owner: Owner::default(), mode: 0o644 };
        (path.to_owned(), entry)
    };
    let folder = ("d".to_owned(), Entry { kind: Kind::Directory, ..file("d").1 });
    let line = |entries: &[(String, Entry)]| {
        PlannedLayer { origin: "COPY".to_owned(), entries: entries.to_vec() }.to_string()
    };
    assert_eq!(line(&[file("d/a")]), "pack a layer of /d/a: COPY");
    assert_eq!(line(&[folder.clone(), file("d/a")]), "pack a layer of 1 folder and 1 file: COPY");
    assert_eq!(line(&[folder, file("d/a"), file("d/b")]), "pack a layer of 1 folder and 2 files: COPY");
}

#[test]
fn a_dynamic_binary_fails_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), launchway_core::environment::Environment::default());
    let dynamic = Verify { binary: "/bin/true".into(), platform: Platform::Amd64, folders: Vec::new() };
    assert_eq!(Exit::of(&dynamic.run(&ctx.reporter).unwrap_err()), Exit::CheckFailed);
}

#[test]
fn a_pointer_of_git_lfs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (model, text) = (dir.path().join("model"), dir.path().join("text"));
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
    fs_err::write(&model, pointer).unwrap();
    fs_err::write(&text, "version").unwrap();
    let entry =
        |file: &PathBuf| Entry { kind: Kind::File(file.clone()), owner: Owner::default(), mode: 0o644 };
    let layer = |files: &[(&str, &PathBuf)]| PlannedLayer {
        origin: "COPY".to_owned(),
        entries: files.iter().map(|(path, file)| ((*path).to_owned(), entry(file))).collect(),
    };
    layer(&[("app/text", &text)]).refuse_pointers().unwrap();
    let error = layer(&[("app/model", &model), ("app/text", &text)]).refuse_pointers().unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    let error = error.to_string();
    assert!(
        error.contains("image needs: `/app/model`. ") && error.contains("git lfs migrate export"),
        "{error}"
    );
}
