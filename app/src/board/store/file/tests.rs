//! A disk that takes no writes.

use super::super::tests::{Folder, older};
use super::*;

#[test]
fn a_log_of_an_older_version_is_no_hindrance_where_nothing_can_be_written() {
    let folder = Folder::new();
    older(&folder.file());
    assert!(Head::read(&folder.file()).unwrap().logs_ahead());
    let connection = unchanging(&folder.file()).unwrap();
    assert!(connection.is_readonly(MAIN_DB).unwrap());
    assert_eq!((entries(&connection).unwrap().len(), newest(&connection).unwrap().len()), (1, 1));
    // What is in a log would be missing.
    fs_err::write(beside(&folder.file(), "-wal"), "changes").unwrap();
    assert!(unchanging(&folder.file()).unwrap_err().to_string().contains("unfinished changes"));
}
