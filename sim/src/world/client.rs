//! Clients: each wants to know a number of things, one after the other, and asks with the same key until it knows.

use zizon_journal::SeededRng;

use super::net::{Ask, Learned, Message};

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    number: usize,
    wants: Vec<Ask>,
    question: u64,
    asked: bool,
    /// Not before this step: it waits before it asks again.
    patient_until: u64,
}

/// Steps a client waits for an answer before it asks again, at most.
const PATIENCE: u64 = 60;

impl Client {
    pub fn drawn(number: usize, asks: usize, keys: usize, rng: &SeededRng) -> Self {
        let any = || usize::try_from(rng.below(keys as u64)).unwrap_or(0);
        let wants = (0..asks)
            .map(|_| match rng.below(12) {
                0..7 => Ask::Place(any(), 0),
                7 => Ask::Place(any(), 1),
                8..10 => Ask::Cancel(any()),
                _ => Ask::Show(any()),
            })
            .collect();
        Self { number, wants, question: 0, asked: false, patient_until: 0 }
    }

    pub fn is_done(&self) -> bool {
        self.wants.is_empty()
    }

    /// The next request, if it is time for one.
    pub fn ask(&mut self, rng: &SeededRng, step: u64) -> Option<Message> {
        let ask = *self.wants.last()?;
        if self.asked && step < self.patient_until {
            return None;
        }
        self.asked = true;
        self.patient_until = step + 1 + rng.below(PATIENCE);
        Some(Message::Request { client: self.number, question: self.question, ask })
    }

    /// An answer has arrived; one to an earlier question is of no interest any more.
    pub fn hear(&mut self, question: u64, learned: Learned) {
        if question != self.question || !self.asked || learned == Learned::AskAgain {
            return;
        }
        self.wants.pop();
        self.question += 1;
        self.asked = false;
    }
}
