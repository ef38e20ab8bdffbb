//! A read-only disk.

use super::super::tests::{Folder, older};
use super::*;

#[test]
fn a_file_of_an_older_version_is_readable_on_a_read_only_disk() {
    let folder = Folder::new();
    older(&folder.file());
    assert!(Head::read(&folder.file()).unwrap().has_write_ahead_log());
    let connection = open_immutable(&folder.file()).unwrap();
    assert!(connection.is_readonly(MAIN_DB).unwrap());
    assert_eq!((entries(&connection).unwrap().len(), newest(&connection).unwrap().len()), (1, 1));
    // The changes in a log would be missing.
    fs_err::write(beside(&folder.file(), "-wal"), "changes").unwrap();
    assert!(open_immutable(&folder.file()).unwrap_err().to_string().contains("unfinished changes"));
}
