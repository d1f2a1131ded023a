//! How long a connection waits for an answer.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// One timer for all the answers of a connection. A later deadline does not touch the runtime's timers: when the sleep
/// ends early it is set again, so a busy connection costs one timer operation for each patience and not two for each
/// request.
pub(crate) struct Patience(Pin<Box<Sleep>>);

impl Patience {
    /// Must be made within a runtime.
    pub(crate) fn new() -> Self {
        Self(Box::pin(tokio::time::sleep(Duration::ZERO)))
    }

    /// What `work` gives, or `None` when it gives nothing within `most`.
    pub(crate) async fn wait<T>(&mut self, most: Duration, work: impl Future<Output = T>) -> Option<T> {
        let due = Instant::now() + most;
        if self.0.deadline().into_std() > due {
            self.0.as_mut().reset(due.into());
        }
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            loop {
                std::task::ready!(self.0.as_mut().poll(cx));
                if Instant::now() >= due {
                    return Poll::Ready(None);
                }
                self.0.as_mut().reset(due.into());
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn patience_ends_when_it_is_due_whatever_was_waited_for_before() {
        let mut patience = Patience::new();
        for (most, work) in [(LONG, Duration::ZERO), (SHORT, LONG), (LONG, SHORT), (SHORT, LONG), (SHORT * 3, SHORT)] {
            let began = Instant::now();
            let done = patience.wait(most, tokio::time::sleep(work)).await;
            assert_eq!(done.is_some(), work < most);
            assert!(began.elapsed() >= most.min(work) && began.elapsed() < LONG / 2, "{:?}", began.elapsed());
        }
    }
}
