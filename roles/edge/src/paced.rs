//! Log lines that any stranger can cause: so many a second, then only a count of what was left out.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lines per [`WINDOW`].
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Decides which lines are written.
#[derive(Debug)]
pub struct Paced(Mutex<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    written: u32,
    left_out: u64,
}

impl Default for Paced {
    fn default() -> Self {
        Self(Mutex::new(State { began: Instant::now(), written: 0, left_out: 0 }))
    }
}

impl Paced {
    /// Whether a line is written `now`, and how many before it were not.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if now.duration_since(state.began) >= WINDOW {
            (state.began, state.written) = (now, 0);
        }
        if state.written == LINES {
            state.left_out += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_and_then_how_many_were_left_out() {
        let (paced, began) = (Paced::default(), Instant::now());
        let written = (0..25).filter(|_| paced.admit(began).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!(paced.admit(began + WINDOW), Some(15));
        assert_eq!(paced.admit(began + WINDOW), Some(0));
    }
}
