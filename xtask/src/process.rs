//! Running other programs.

use std::borrow::BorrowMut;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Runs a program to its end with our terminal; answers its exit code (1 when a signal ended it).
///
/// Ctrl-C reaches the program as well as us, as a terminal signals the whole group: the program cleans up, and
/// we wait for it because the `wait` goes on.
pub fn run(mut command: impl BorrowMut<Command>) -> Result<u8, String> {
    let command = command.borrow_mut();
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Runs a program and requires success.
pub fn require(mut command: impl BorrowMut<Command>) -> Result<(), String> {
    let command = command.borrow_mut();
    match run(&mut *command)? {
        0 => Ok(()),
        code => Err(format!("`{}` ended with {code}", line(command))),
    }
}

/// Runs a program, shows what it prints and keeps it; answers whether it succeeded.
pub fn watched(command: &mut Command) -> Result<(bool, String), String> {
    // One pipe for both, so that a summary on either stream is seen; order within each is kept.
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(command, &error))?;
    let errors = child.stderr.take().map(|stream| {
        std::thread::spawn(move || {
            let mut kept = String::new();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                eprintln!("{line}");
                kept.push_str(&line);
                kept.push('\n');
            }
            kept
        })
    });
    let mut kept = String::new();
    if let Some(stream) = child.stdout.take() {
        let mut out = std::io::stdout().lock();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = writeln!(out, "{line}");
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    if let Some(errors) = errors {
        kept.push_str(&errors.join().unwrap_or_default());
    }
    let status = child.wait().map_err(|error| format!("`{}`: {error}", line(command)))?;
    Ok((status.success(), kept))
}

/// What a program prints, or none when it cannot run or fails.
pub fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("`{}` cannot be started: {error}", line(command))
}
