//! Telling people at the terminal that a role ended, without drowning them when it does so again and again.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use zizon_base::role::Role;

use crate::output::{self, Style};

/// How often the same reason is said again.
const REPEAT_EVERY: Duration = Duration::from_secs(30);

/// What was said last about one role.
#[derive(Debug)]
pub struct Notices {
    role: Role,
    last: Option<(String, Instant)>,
    unsaid: u32,
}

impl Notices {
    /// Nothing was said.
    pub const fn new(role: Role) -> Self {
        Self { role, last: None, unsaid: 0 }
    }

    /// The role ended because of `why` and is started again.
    pub fn ended(&mut self, why: &str) {
        if let Some(times) = self.due(why, Instant::now()) {
            say(self.role, why, times);
        }
    }

    /// How often it ended for this reason since it was last said, if it is to be said.
    fn due(&mut self, why: &str, now: Instant) -> Option<u32> {
        let repeated =
            self.last.as_ref().is_some_and(|(said, at)| said == why && now.duration_since(*at) < REPEAT_EVERY);
        if repeated {
            self.unsaid += 1;
            return None;
        }
        self.last = Some((why.to_owned(), now));
        Some(std::mem::take(&mut self.unsaid) + 1)
    }
}

fn say(role: Role, why: &str, times: u32) {
    if !std::io::stderr().is_terminal() {
        tracing::warn!(role = role.name(), why, times, "a role ended and is started again");
        return;
    }
    let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
    let text = format!("{role} ended{times} and is started again: {why}");
    output::error_line(&output::paint_error(&text, Style::Yellow));
}

/// The role answers again.
pub fn back(role: Role) {
    if std::io::stderr().is_terminal() {
        output::error_line(&output::paint_error(&format!("{role} runs again"), Style::Green));
    } else {
        tracing::info!(role = role.name(), "a role runs again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reason_is_said_once_in_half_a_minute_with_how_often_it_happened() {
        let mut notices = Notices::new(Role::Orders);
        let began = Instant::now();
        assert_eq!(notices.due("a", began), Some(1));
        assert_eq!(notices.due("a", began), None);
        assert_eq!(notices.due("a", began), None);
        assert_eq!(notices.due("b", began), Some(3));
        assert_eq!(notices.due("b", began + REPEAT_EVERY), Some(1));
    }
}
