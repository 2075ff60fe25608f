//! Peer: the server side of one tunnel (rule R1).

use crate::{Millis, OperationId};

names! {
    /// Where a peer is.
    pub enum State {
        /// The socket is open; the login is being checked.
        Authorizing = "authorizing",
        /// The directory row is being written.
        Registering = "registering",
        /// Admitted: requests may be routed to it.
        Up = "up",
        /// Told to move; still finishing.
        Told = "told",
        /// Closed, its row is being removed.
        Leaving = "leaving",
        /// Gone.
        Gone = "gone",
    }
}

settings! {
    /// How a peer is served.
    pub struct Config as "PeerConfig" {
        /// The limit of the login check. Milliseconds.
        authorize_limit: Millis = 10_000,
        /// The limit of a directory write. Milliseconds.
        register_limit: Millis = 5_000,
        /// How often a ping goes out. Milliseconds.
        ping_every: Millis = 30_000,
        /// How many pings in a row may go unanswered before the peer is closed with 1001.
        ping_misses: u32 = 3,
        /// How late a timer may fire before silence is no longer trusted. Milliseconds.
        stall_tolerance: Millis = 5_000,
        /// How often the directory row is renewed. Milliseconds; well below the directory's TTL.
        renew_every: Millis = 30_000,
        /// The wait before a failed directory write of a live peer is tried again. Milliseconds.
        retry_every: Millis = 1_000,
        /// The code that a newer connection of the same host closes this one with.
        replaced_code: u16 = 4409,
        /// The code that a deliberate drain closes with.
        drain_code: u16 = 4001,
    }
}

messages! {
    /// What happened to a peer.
    pub enum Input as "PeerInput" {
        /// A socket was opened: check its login. Once, first.
        Connected = "connected",
        /// An operation is done.
        Done = "done" {
            /// Which.
            operation: OperationId,
        },
        /// An operation failed: the login is refused, or the directory could not be written.
        Failed = "failed" {
            /// Which.
            operation: OperationId,
        },
        /// The directory answered that another owner or a later epoch holds the row.
        Fenced = "fenced" {
            /// Which.
            operation: OperationId,
        },
        /// The answer to [`Effect::Sample`].
        Inbound = "inbound" {
            /// How long ago the last inbound frame came. Milliseconds.
            ago: Millis,
        },
        /// The socket closed.
        Closed = "closed",
        /// A newer connection of the same host was admitted.
        Replaced = "replaced",
        /// The relay drains: no more registrations (D4).
        Drain = "drain",
        /// The relay tells this peer to move (D5).
        Tell = "tell" {
            /// The window that it may spread over; none: now. Milliseconds.
            within: Option<Millis>,
        },
        /// The relay closes this peer: its work is done or its time is up.
        Close = "close" {
            /// The code.
            code: u16,
        },
    }
}

names! {
    /// Why a peer was not admitted, or left.
    pub enum Departure {
        /// The login was refused (1008).
        Refused = "refused",
        /// The directory could not be written (1011).
        DirectoryFailed = "directory-failed",
        /// The relay is draining.
        Draining = "draining",
        /// A newer connection of the same host took over.
        Replaced = "replaced",
        /// The directory says that somebody else owns the row.
        Fenced = "fenced",
        /// It did not answer its pings (1001).
        Silent = "silent",
        /// The socket closed.
        Closed = "closed",
        /// The relay closed it.
        Asked = "asked",
    }
}

messages! {
    /// What a peer wants done.
    pub enum Effect as "PeerEffect" {
        /// Check the login; answer done or failed.
        Authorize = "authorize" {
            /// Which.
            operation: OperationId,
            /// Answered later than this it counts as failed. Milliseconds.
            limit: Millis,
        },
        /// Write the directory row (a new epoch); answer done, failed or fenced.
        Register = "register" {
            /// Which.
            operation: OperationId,
            /// Answered later than this it counts as unknown. Milliseconds.
            limit: Millis,
        },
        /// Renew the directory row; answer done, failed or fenced.
        Renew = "renew" {
            /// Which.
            operation: OperationId,
            /// Answered later than this it counts as failed. Milliseconds.
            limit: Millis,
        },
        /// Remove the directory row if it is still ours; answer done or failed.
        Unregister = "unregister" {
            /// Which.
            operation: OperationId,
            /// Answered later than this it is given up; the row's TTL ends it. Milliseconds.
            limit: Millis,
        },
        /// Route requests to this peer from now on; close an older connection of the same host.
        Admit = "admit",
        /// Send the in-band drain notice.
        Notify = "notify" {
            /// The window; none: now. Milliseconds.
            within: Option<Millis>,
        },
        /// Tell when the last inbound frame came: [`Input::Inbound`].
        Sample = "sample",
        /// Send a ping.
        Ping = "ping",
        /// Close the socket with this code; wait for nothing.
        CloseSocket = "close-socket" {
            /// The code.
            code: u16,
        },
        /// A report: it will not be, or is no longer, routable.
        Departed = "departed" {
            /// Why.
            departure: Departure,
        },
        /// A report: the directory is away, the peer is served from memory (R2).
        Unlisted = "unlisted",
    }
}

names! {
    /// Why a peer wants to be woken.
    pub enum Why {
        /// The login check has had its time.
        AuthorizeLimit = "authorize-limit",
        /// The directory write has had its time.
        RegisterLimit = "register-limit",
        /// The removal of the row has had its time.
        UnregisterLimit = "unregister-limit",
        /// A ping is due.
        Ping = "ping",
        /// The row is to be renewed, or a failed write to be tried again.
        Renew = "renew",
    }
}
