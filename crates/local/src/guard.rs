//! Binds a process to the life of slipway: it is killed by the kernel when the thread that started it ends, however that
//! happens. Runs in the new process, before it becomes what it is to be.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use rustix::process::{Signal, getppid, set_parent_process_death_signal, setpgid};

/// Becomes the command, in a process group of its own. Returns only the error that kept it from that.
///
/// `parent` is who must still be alive: the death signal tells nothing of a parent that died before it was asked for.
pub fn become_command(command: &[String], parent: Option<u32>) -> io::Error {
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::other("there is no command");
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    let alive = getppid().map(|id| id.as_raw_nonzero().get().unsigned_abs());
    if parent.is_some_and(|parent| alive != Some(parent)) {
        return io::Error::other("the process that started this one is gone");
    }
    // Refused for the leader of a session, which has a group of its own already.
    let _ = setpgid(None, None);
    Command::new(program).args(arguments).exec()
}
