//! Tasks of the simulated process, polled one at a time by the schedule.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use zizon_orders::simulation::Step;

/// Raised by whoever wakes the task.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

type Work<T> = Pin<Box<dyn Future<Output = T>>>;

/// Where a task stands: in this call of the table, before it or, with `waits`, until it is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub step: Step,
    pub waits: bool,
}

/// A future with its flag.
pub(crate) struct Task<T> {
    future: Work<T>,
    flag: Arc<Flag>,
    /// Not polled before this step: it waits for a slow disk, a busy processor, a page.
    pub stalled_until: u64,
    /// Where it stood when it was polled last.
    pub at: Option<At>,
}

impl<T> Task<T> {
    pub fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self { future: Box::pin(future), flag: Arc::new(Flag(AtomicBool::new(true))), stalled_until: 0, at: None }
    }

    /// Whether polling it may get it further.
    pub fn is_ready(&self, step: u64) -> bool {
        self.flag.0.load(Relaxed) && self.stalled_until <= step
    }

    pub fn poll(&mut self) -> Poll<T> {
        self.flag.0.store(false, Relaxed);
        let waker = Waker::from(Arc::clone(&self.flag));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// Pending once: a place where the schedule may do something else.
#[derive(Default)]
pub(crate) struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Lets the schedule do something else first.
pub(crate) fn turn() -> Turn {
    Turn::default()
}

/// Polls to the end, for work that nothing else may come between. The bound says when something hangs.
pub(crate) fn finish<T>(future: impl Future<Output = T>, mut between: impl FnMut()) -> Result<T, String> {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        between();
    }
    Err("a future never ends".to_owned())
}
