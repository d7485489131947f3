//! Measures a bump (edit, commit, push) against `git http-backend` on loopback: `cargo run --release -p git --example bump`.

#[allow(dead_code, reason = "the server is shared with the demonstration; not all of it is used here")]
#[path = "../../../src/demo/git_server.rs"]
mod git_server;
#[allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "the world is shared with the tests; not all of it is used here"
)]
#[path = "../tests/support/world.rs"]
mod world;

use std::time::Duration;

use git::Expected;
use world::{MAIN, MAIN_REFERENCE, World, commit};

const ROUNDS: usize = 50;

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement takes real time and prints it")]
fn main() {
    for count in [1, 1000] {
        let names: Vec<String> = (0..count).map(|n| format!("apps/team{}/app{n:04}.yaml", n % 10)).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), "image: app:0\n")).collect();
        let world = World::with(&files);
        let mut head = world.open().fetch(&MAIN).expect("the server runs");
        let (mut edits, mut pushes, mut bumps) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let start = std::time::Instant::now();
            // Opened for each bump, as the updater does.
            let mirror = world.open();
            let new = commit(&mirror, Some(&head), &[(&names[0], &format!("image: app:{}\n", round + 1))]);
            edits.push(start.elapsed());
            mirror.push(&new, MAIN_REFERENCE, Expected::At(head.id), &[]).expect("nobody else pushes");
            bumps.push(start.elapsed());
            pushes.push(bumps[round] - edits[round]);
            head = new.commit;
        }
        for (what, samples) in [("edit", edits), ("push", pushes), ("bump", bumps)] {
            println!("{count:5} files  {what}  p50 {:6.1} ms  p95 {:6.1} ms", at(&samples, 50), at(&samples, 95));
        }
    }
}

fn at(samples: &[Duration], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1e3
}
