//! What puts something back after an interrupt. In a process of its own, whose interrupt no other test sees.

use std::path::Path;

use launchway_core::command::Call;
use launchway_core::interrupt::Interrupt;

#[test]
fn an_interrupt_does_not_end_what_puts_things_back() {
    Interrupt::install().unwrap().set();
    let slow = || Call::new("sh").args(["-c", "sleep 0.3; echo back"]);
    assert!(slow().read(Path::new("/")).is_err(), "anything else is ended");
    assert_eq!(slow().clean_up(Path::new("/")).unwrap().stdout, b"back\n");
}
