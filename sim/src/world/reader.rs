//! A reader of the feed, as an event bus or a lake would be: it is told everything at least once, and counts each change
//! once, because it keeps the position of the last change it has counted with what it has counted.

use zizon_base::ids::OrderId;
use zizon_orders::simulation::{Told, told};
use zizon_table::Change;

/// What was counted: position and order, in the order in which it was told.
pub(crate) type Log = Vec<(u64, OrderId, u32)>;

/// The reader. `log` and `high_water` are durable together; the cursor is saved now and then.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub log: Log,
    high_water: u64,
    cursor: u64,
    saved: u64,
    /// Keeps no high-water mark. Wrong on purpose.
    forgetful: bool,
}

impl Reader {
    /// Has read nothing yet.
    pub fn new(forgetful: bool) -> Self {
        Self { forgetful, ..Self::default() }
    }

    /// Where it reads on.
    pub const fn next(&self) -> u64 {
        self.cursor + 1
    }

    /// Takes what was read from `from` on. A batch from behind what it knows would leave a gap and is not taken.
    pub fn take(&mut self, from: u64, changes: &[Change]) -> Result<(), String> {
        if from > self.cursor + 1 {
            return Ok(());
        }
        for change in changes {
            let seq = change.seq.0;
            if seq > self.high_water || self.forgetful {
                let Some(item) = &change.new else { continue };
                match told(&change.key, item).map_err(|error| format!("the feed tells what cannot be read: {error}"))? {
                    Told::Placed(id, _) => self.log.push((seq, id, 0)),
                    Told::Fact(id, fact) => self.log.push((seq, id, fact.version)),
                    Told::Void(_) | Told::Other => {}
                }
            }
        }
        if let Some(last) = changes.last() {
            self.high_water = self.high_water.max(last.seq.0);
            self.cursor = self.cursor.max(last.seq.0);
        }
        Ok(())
    }

    pub fn save(&mut self) {
        self.saved = self.cursor;
    }

    /// The reader's process dies: it goes on from the cursor it saved last, so many changes behind.
    pub fn crash(&mut self) -> u64 {
        std::mem::replace(&mut self.cursor, self.saved) - self.saved
    }
}
