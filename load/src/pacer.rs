//! Releases scheduled requests at their intended start.
//!
//! tokio's timer counts in milliseconds: up to 1 ms of latency that the generator would blame on the platform.
//! A timerfd is exact to microseconds.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

use crate::schedule::Schedule;

/// A timer with the resolution of the kernel's.
struct FineTimer(AsyncFd<OwnedFd>);

impl FineTimer {
    #[expect(
        deprecated,
        reason = "an `OwnedFd` keeps its descriptor, which is the promise that the unsafe successor asks for"
    )]
    fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::new(fd)?))
    }

    async fn sleep(&self, duration: Duration) -> io::Result<()> {
        // A zero value would disarm the timer.
        let duration = duration.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(duration.subsec_nanos()),
            },
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0_u8; 8];
            if let Ok(read) = ready.try_io(|fd| rustix::io::read(fd, &mut expirations).map_err(io::Error::from)) {
                return read.map(|_| ());
            }
        }
    }
}

/// Adds one permit per request that is due; what no connection takes at once queues up as permits.
pub(crate) async fn release(schedule: Schedule, start: Instant, permits: Arc<Semaphore>) -> io::Result<()> {
    let timer = FineTimer::new()?;
    let mut released = 0;
    loop {
        let elapsed = start.elapsed();
        let due = schedule.due(elapsed);
        if due > released {
            permits.add_permits(usize::try_from(due - released).unwrap_or(0));
            released = due;
        }
        if released >= schedule.total() {
            return Ok(());
        }
        timer.sleep(schedule.intended(released).saturating_sub(elapsed)).await?;
    }
}
