//! What catalog's feed has told, line by line. Pure but for the view it fills.

use std::collections::HashSet;

use zizon_base::ids::Sku;
use zizon_contracts::catalog::{FeedLine, History};

use super::store::{Pending, Position};
use super::view::PriceView;

/// A line that cannot follow what came before it: another history, a position that goes back, something else than
/// products in a listing. The next response is read from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of the feed does not follow from those before it")]
pub struct Unexpected;

/// What the feed has told and is not saved yet.
#[derive(Debug)]
pub(super) struct Told {
    at: At,
    pending: Pending,
}

#[derive(Debug)]
enum At {
    /// Catalog has to list everything.
    Nowhere,
    /// It lists everything, and has named these. What it does not name is gone.
    Listing(History, HashSet<Sku>),
    /// Everything up to here is in the view.
    Position(Position),
}

impl Told {
    pub(super) fn new(from: Option<Position>) -> Self {
        Self { at: from.map_or(At::Nowhere, At::Position), pending: Pending::default() }
    }

    /// A response begins; the position it should go on from. A listing that was not finished is worth nothing.
    pub(super) fn begin(&mut self) -> Option<Position> {
        if matches!(self.at, At::Listing(..)) {
            self.at = At::Nowhere;
        }
        self.position()
    }

    pub(super) const fn position(&self) -> Option<Position> {
        match self.at {
            At::Position(position) => Some(position),
            At::Nowhere | At::Listing(..) => None,
        }
    }

    pub(super) const fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    /// Takes one line; whether catalog has nothing further. Only that confirms the view: a product's line says nothing
    /// about the changes that may follow it, and a price from before them would be a wrong one.
    ///
    /// # Errors
    /// The line cannot stand here.
    pub(super) fn take(&mut self, view: &PriceView, line: FeedLine) -> Result<bool, Unexpected> {
        let taken = self.accept(view, line);
        if taken.is_err() {
            self.at = At::Nowhere;
        }
        taken
    }

    fn accept(&mut self, view: &PriceView, line: FeedLine) -> Result<bool, Unexpected> {
        match line {
            FeedLine::Listing { history } => self.at = At::Listing(history, HashSet::new()),
            FeedLine::Product { seq, product } => {
                match &mut self.at {
                    At::Listing(_, named) => {
                        named.insert(product.sku.clone());
                    }
                    at => at.advance(seq)?,
                }
                view.put(&product);
                self.pending.note(product.sku.clone(), Some(product));
            }
            FeedLine::Removed { seq, sku } => {
                self.at.advance(seq)?;
                self.remove(view, sku);
            }
            FeedLine::Progress { seq } => match std::mem::replace(&mut self.at, At::Nowhere) {
                At::Listing(history, named) => {
                    view.skus().into_iter().filter(|sku| !named.contains(sku)).for_each(|sku| self.remove(view, sku));
                    self.at = At::Position(Position { seq, history });
                }
                mut at => {
                    at.advance(seq)?;
                    self.at = at;
                }
            },
            FeedLine::Heartbeat { seq, history } => {
                self.at.advance(seq)?;
                return if self.position().is_some_and(|at| at.history == history) {
                    Ok(true)
                } else {
                    Err(Unexpected)
                };
            }
        }
        Ok(false)
    }

    fn remove(&mut self, view: &PriceView, sku: Sku) {
        view.remove(&sku);
        self.pending.note(sku, None);
    }
}

impl At {
    fn advance(&mut self, to: u64) -> Result<(), Unexpected> {
        match self {
            Self::Position(position) if position.seq <= to => {
                position.seq = to;
                Ok(())
            }
            _ => Err(Unexpected),
        }
    }
}

#[cfg(test)]
mod tests {
    use zizon_base::market::Market;

    use super::*;
    use crate::testing::{product, sku_of};

    const OLD: History = History::of_journal([1; 16]);
    const NEW: History = History::of_journal([2; 16]);

    fn product_line(seq: u64, sku: &str) -> FeedLine {
        FeedLine::Product { seq, product: product(sku, &[(Market::Kr, 1)], true) }
    }

    fn beat(seq: u64, history: History) -> FeedLine {
        FeedLine::Heartbeat { seq, history }
    }

    fn take_all(told: &mut Told, view: &PriceView, lines: impl IntoIterator<Item = FeedLine>) -> Vec<bool> {
        lines.into_iter().map(|line| told.take(view, line).unwrap()).collect()
    }

    /// A view that was told `skus` in one listing.
    fn listed(history: History, end: u64, skus: &[&str]) -> (Told, PriceView) {
        let (mut told, view) = (Told::new(None), PriceView::default());
        told.take(&view, FeedLine::Listing { history }).unwrap();
        take_all(&mut told, &view, skus.iter().map(|sku| product_line(0, sku)));
        told.take(&view, FeedLine::Progress { seq: end }).unwrap();
        (told, view)
    }

    #[test]
    fn only_a_heartbeat_says_that_the_view_is_complete() {
        let (mut told, view) = listed(OLD, 1, &[]);
        let lines = [
            product_line(2, "A"),
            FeedLine::Removed { seq: 3, sku: sku_of("A") },
            FeedLine::Progress { seq: 4 },
            beat(4, OLD),
        ];
        assert_eq!(take_all(&mut told, &view, lines), [false, false, false, true]);
        assert_eq!(told.position(), Some(Position { seq: 4, history: OLD }));
        assert_eq!((view.len(), told.pending().len()), (0, 1));
    }

    #[test]
    fn what_a_whole_listing_does_not_name_is_gone() {
        let (mut told, view) = listed(OLD, 8, &["A", "B"]);
        // The feed was trimmed, or catalog was set up anew: until the listing ends, nothing is gone.
        for (history, end) in [(OLD, 90), (NEW, 8)] {
            view.put(&product("A", &[(Market::Kr, 1)], true));
            let lines = [FeedLine::Listing { history }, product_line(0, "B")];
            take_all(&mut told, &view, lines);
            assert_eq!((view.len(), told.position()), (2, None));
            told.take(&view, FeedLine::Progress { seq: end }).unwrap();
            assert_eq!((view.len(), told.position()), (1, Some(Position { seq: end, history })));
            assert!(view.get(&sku_of("A")).is_none());
        }
    }

    #[test]
    fn a_listing_that_was_cut_off_removes_nothing_and_is_begun_again() {
        let (mut told, view) = listed(OLD, 8, &["A", "B"]);
        take_all(&mut told, &view, [FeedLine::Listing { history: NEW }, product_line(0, "B")]);
        assert_eq!((told.begin(), view.len()), (None, 2));
        assert_eq!(told.take(&view, FeedLine::Progress { seq: 9 }), Err(Unexpected));
        assert_eq!(view.len(), 2);
    }

    #[test]
    fn a_line_that_cannot_stand_where_it_stands_starts_everything_over() {
        let wrong = [beat(9, NEW), beat(7, OLD), product_line(7, "A"), FeedLine::Progress { seq: 7 }];
        for line in wrong {
            let (mut told, view) = listed(OLD, 8, &["A"]);
            assert_eq!(told.take(&view, line.clone()), Err(Unexpected), "{line:?}");
            assert_eq!((told.begin(), view.len()), (None, 1), "{line:?}");
        }
        for line in [beat(9, OLD), FeedLine::Removed { seq: 9, sku: sku_of("A") }] {
            let (mut told, view) = listed(OLD, 8, &["A"]);
            told.take(&view, FeedLine::Listing { history: OLD }).unwrap();
            assert_eq!(told.take(&view, line.clone()), Err(Unexpected), "{line:?}");
        }
    }
}
