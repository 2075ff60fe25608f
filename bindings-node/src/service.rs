//! Words to the service manager, by systemd's protocol (`sd_notify(3)`): one datagram each.

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a manager that does not read may hold up the caller.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sends one datagram to the socket that `NOTIFY_SOCKET` names: a path, or `@` and an abstract name.
pub fn notify(socket: &str, message: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to_addr(message.as_bytes(), &address(socket)?)?;
    Ok(())
}

fn address(socket: &str) -> io::Result<SocketAddr> {
    match socket.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(socket),
    }
}
