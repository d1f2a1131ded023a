//! Reading in order over what is in memory and what is on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use lsm_tree::Slice;

use super::recent::{Entries, Moved, Recent};
use super::rows::Span;
use super::{IndexError, IndexRange};

/// Entries taken from memory at once, under a lock.
const CHUNK: usize = 128;

/// Ordered entries of one part of the index in memory.
pub(super) enum Part {
    /// A partition's, a chunk at a time.
    Span { recent: Arc<Recent>, span: Span, at: u64, done: bool, chunk: VecDeque<(Slice, Option<Slice>)> },
    /// All there are.
    Whole(std::vec::IntoIter<(Slice, Option<Slice>)>),
}

impl Part {
    pub fn span(recent: Arc<Recent>, span: Span, at: u64) -> Self {
        let done = span.is_empty();
        Self::Span { recent, span, at, done, chunk: VecDeque::new() }
    }

    pub fn whole(entries: Entries) -> Self {
        Self::Whole(entries.into_iter())
    }

    fn next(&mut self) -> Result<Option<(Slice, Option<Slice>)>, Moved> {
        match self {
            Self::Whole(entries) => Ok(entries.next()),
            Self::Span { recent, span, at, done, chunk } => {
                while chunk.is_empty() && !*done {
                    let (entries, last) = recent.chunk(span, *at, CHUNK)?;
                    chunk.extend(entries);
                    match last {
                        Some(last) => span.go_on_after(&last),
                        None => *done = true,
                    }
                    *done |= span.is_empty();
                }
                Ok(chunk.pop_front())
            }
        }
    }
}

/// One of the merged sequences with its next entry.
struct Source<I> {
    from: I,
    next: Option<(Slice, Option<Slice>)>,
}

/// Merges parts, newest first, and the tree, which is older than all of them.
pub(super) struct Merge<T> {
    parts: Vec<Source<Part>>,
    tree: Source<T>,
    reverse: bool,
    started: bool,
    failed: bool,
}

impl<T> Merge<T>
where
    T: Iterator<Item = Result<(Slice, Slice), IndexError>> + Send + 'static,
{
    pub fn range(parts: Vec<Part>, tree: T, reverse: bool) -> IndexRange {
        let parts = parts.into_iter().map(|from| Source { from, next: None }).collect();
        let tree = Source { from: tree, next: None };
        Box::new(Self { parts, tree, reverse, started: false, failed: false })
    }

    fn advance_part(&mut self, part: usize) -> Result<(), IndexError> {
        let source = &mut self.parts[part];
        source.next = source.from.next().map_err(|Moved| IndexError::Moved)?;
        Ok(())
    }

    fn advance_tree(&mut self) -> Result<(), IndexError> {
        self.tree.next = self.tree.from.next().transpose()?.map(|(key, value)| (key, Some(value)));
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(Slice, Option<Slice>)>, IndexError> {
        if !std::mem::replace(&mut self.started, true) {
            // Memory first: what is flushed meanwhile is then in both, not in neither.
            (0..self.parts.len()).try_for_each(|part| self.advance_part(part))?;
            self.advance_tree()?;
        }
        let keys = self.parts.iter().map(|part| &part.next).chain([&self.tree.next]).flatten().map(|(key, _)| key);
        let first = if self.reverse { keys.max() } else { keys.min() };
        let Some(key) = first.cloned() else { return Ok(None) };
        let mut found = None;
        for part in 0..self.parts.len() {
            if self.parts[part].next.as_ref().is_some_and(|(next, _)| *next == key) {
                let value = self.parts[part].next.take().and_then(|(_, value)| value);
                found.get_or_insert(value);
                self.advance_part(part)?;
            }
        }
        if self.tree.next.as_ref().is_some_and(|(next, _)| *next == key) {
            let value = self.tree.next.take().and_then(|(_, value)| value);
            found.get_or_insert(value);
            self.advance_tree()?;
        }
        Ok(Some((key, found.flatten())))
    }
}

impl<T> Iterator for Merge<T>
where
    T: Iterator<Item = Result<(Slice, Slice), IndexError>> + Send + 'static,
{
    type Item = Result<(Vec<u8>, Vec<u8>), IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.step() {
                Ok(None) => return None,
                Ok(Some((_, None))) => {}
                Ok(Some((key, Some(value)))) => return Some(Ok((key.to_vec(), value.to_vec()))),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
