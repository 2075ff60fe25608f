//! What a listener needs from the system and Node does not offer.

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    use socket2::{SockFilter, SockRef};

    /// Classic BPF over the TCP header: a segment with SYN and without ACK is dropped, all others pass.
    const DROP_SYN: [(u16, u8, u8, u32); 5] = [
        (0x30, 0, 0, 13),          // load the byte of the flags
        (0x54, 0, 0, 0x12),        // of these, SYN and ACK
        (0x15, 0, 1, 0x02),        // SYN alone?
        (0x06, 0, 0, 0),           // drop it
        (0x06, 0, 0, 0xffff_ffff), // let it pass
    ];

    pub(super) fn refuse_handshakes(socket: i32) -> io::Result<()> {
        // A second descriptor of the same socket, owned by us: the one that Node has is only borrowed.
        let process = pidfd_open(getpid(), PidfdFlags::empty())?;
        let socket = pidfd_getfd(process, socket, PidfdGetfdFlags::empty())?;
        let filter = DROP_SYN.map(|(code, jt, jf, k)| SockFilter::new(code, jt, jf, k));
        SockRef::from(&socket).attach_filter(&filter)
    }
}

/// Makes a listening TCP socket begin no more handshakes, without a word to those who try: they try again after a
/// second and then find nobody. Handshakes under way and connections in the queue are not touched. So the queue can be
/// emptied for good, where a close would reset whoever came in the moment before it.
///
/// It acts on the socket, also where other processes share it. False where the system cannot do it.
pub fn refuse_handshakes(socket: i32) -> bool {
    #[cfg(target_os = "linux")]
    return linux::refuse_handshakes(socket).is_ok();
    #[cfg(not(target_os = "linux"))]
    return {
        let _ = socket;
        false
    };
}

/// Binds a unix socket and listens on it; answers its descriptor, which is the caller's from now on. Unlike Node, nobody
/// removes the path when the descriptor is closed: a successor may be listening there.
#[cfg(unix)]
pub fn listen_unix(path: &str) -> std::io::Result<i32> {
    use std::os::fd::IntoRawFd;

    Ok(std::os::unix::net::UnixListener::bind(path)?.into_raw_fd())
}
