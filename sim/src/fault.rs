//! What can go wrong in a world.

/// One kind of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed.
    Kill,
    /// The process is told to end.
    Stop,
    /// The machine loses power between two steps.
    Power,
    /// The machine loses power in an operation of the disk.
    PowerInDisk,
    /// A sync fails.
    SyncError,
    /// A write fails.
    WriteError,
    /// A write is cut short.
    ShortWrite,
    /// A read fails.
    ReadError,
    /// A request is refused because the disk is full.
    DiskFull,
    /// A message is lost.
    Lost,
    /// A message arrives twice.
    Doubled,
    /// A message is held up because its client is cut off.
    CutOff,
    /// The process stands still while time goes on.
    Pause,
    /// A single request stands still.
    Stall,
    /// A request is given up by its caller.
    CallerGone,
    /// The clock jumps.
    Clock,
    /// A call of the table is answered "unknown".
    Unknown,
    /// A call of the table is refused for the moment.
    Refused,
    /// The operator sets or splits stock while orders come in.
    Operator,
    /// The reader of the feed dies and goes on from behind what it has counted.
    ReaderCrash,
}

impl Fault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::Kill,
        Self::Stop,
        Self::Power,
        Self::PowerInDisk,
        Self::SyncError,
        Self::WriteError,
        Self::ShortWrite,
        Self::ReadError,
        Self::DiskFull,
        Self::Lost,
        Self::Doubled,
        Self::CutOff,
        Self::Pause,
        Self::Stall,
        Self::CallerGone,
        Self::Clock,
        Self::Unknown,
        Self::Refused,
        Self::Operator,
        Self::ReaderCrash,
    ];

    /// In a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "process killed",
            Self::Stop => "process stopped in order",
            Self::Power => "power lost",
            Self::PowerInDisk => "power lost in a disk operation",
            Self::SyncError => "sync failed",
            Self::WriteError => "write failed",
            Self::ShortWrite => "write cut short",
            Self::ReadError => "read failed",
            Self::DiskFull => "refused for a full disk",
            Self::Lost => "message lost",
            Self::Doubled => "message doubled",
            Self::CutOff => "message held up by a partition",
            Self::Pause => "process paused",
            Self::Stall => "request stalled",
            Self::CallerGone => "caller gone",
            Self::Clock => "clock jumped",
            Self::Unknown => "table answered unknown",
            Self::Refused => "table refused for the moment",
            Self::Operator => "stock set or split by hand",
            Self::ReaderCrash => "reader of the feed died",
        }
    }
}
