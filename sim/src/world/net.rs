//! The network between clients and the shop: whatever is on its way may be late, lost, doubled and overtaken.

use zizon_journal::SeededRng;

/// What a client asks for: the key's number and, for an order, which of its bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Place(usize, u8),
    Show(usize),
    Cancel(usize),
}

impl Ask {
    pub const fn key(self) -> usize {
        match self {
            Self::Place(key, _) | Self::Show(key) | Self::Cancel(key) => key,
        }
    }
}

/// Whether a client learned what it wanted to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    Yes,
    AskAgain,
}

/// Something on its way. `question` numbers what a client wants to know; a repetition has the same number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Message {
    Request { client: usize, question: u64, ask: Ask },
    Answer { client: usize, question: u64, learned: Learned },
}

impl Message {
    pub const fn client(&self) -> usize {
        match self {
            Self::Request { client, .. } | Self::Answer { client, .. } => *client,
        }
    }
}

/// Most messages on their way: a client waits longer when its network is full.
const MAX_UNDER_WAY: usize = 256;

/// Everything that is on its way.
#[derive(Debug, Default)]
pub(crate) struct Net {
    under_way: Vec<Message>,
    /// Clients that are cut off until a step.
    cut: Vec<(usize, u64)>,
    /// Messages that could not arrive because their client was cut off.
    pub held_up: u64,
}

impl Net {
    pub fn send(&mut self, message: Message) {
        if self.under_way.len() < MAX_UNDER_WAY {
            self.under_way.push(message);
        }
    }

    /// Cuts a client off. What is on its way arrives afterwards.
    pub fn cut(&mut self, client: usize, until: u64) {
        self.cut.push((client, until));
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    fn is_cut(&self, client: usize, step: u64) -> bool {
        self.cut.iter().any(|&(cut, until)| cut == client && step < until)
    }

    /// Any message that can arrive.
    pub fn take(&mut self, rng: &SeededRng, step: u64) -> Option<Message> {
        self.cut.retain(|&(_, until)| step < until);
        let at = self.pick(rng)?;
        if self.is_cut(self.under_way[at].client(), step) {
            self.held_up += 1;
            return None;
        }
        Some(self.under_way.swap_remove(at))
    }

    /// Loses any message.
    pub fn lose(&mut self, rng: &SeededRng) -> bool {
        let at = self.pick(rng);
        at.map(|at| self.under_way.swap_remove(at)).is_some()
    }

    /// Doubles any message.
    pub fn double(&mut self, rng: &SeededRng) -> bool {
        let again = self.pick(rng).map(|at| self.under_way[at]);
        again.map(|message| self.send(message)).is_some()
    }

    fn pick(&self, rng: &SeededRng) -> Option<usize> {
        let count = self.under_way.len() as u64;
        (count > 0).then(|| usize::try_from(rng.below(count)).unwrap_or(0))
    }
}
