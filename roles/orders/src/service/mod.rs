//! What the role does, without HTTP: place an order, look at one, bring something about.

mod problems;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use zizon_base::ids::{IdKey, OrderId, Sku};
use zizon_base::problem::{Code, Problem};
use zizon_base::time::Timestamp;
use zizon_journal::{Clock, Env};
use zizon_table::Table;

use self::problems::{in_words, insufficient, keyring_problem, no_order};
use crate::answers::{Answers, Asked};
use crate::background::checker::Recent;
use crate::execute::load::load;
use crate::execute::{CommandError, ExecuteError, Executor, LoadedOrder, Mode, OrderPlan, Placed, Transitioned};
use crate::keyring::{Keyring, KeyringError, Opened};
use crate::metrics::OrderMetrics;
use crate::order::document::OrderDocument;
use crate::order::fact::Actor;
use crate::order::render::render;
use crate::order::state::{Event, State};
use crate::personal::Personal;
use crate::prices::{PriceView, pricing};
use crate::request::{Digest, Rules, parse_order};
use crate::stock::directory::Directory;
use crate::stock::operator::StockKeeper;

/// The credential scope of orders without an account.
pub const GUEST_SCOPE: &str = "guest";

/// What a shop allows, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShopRules {
    /// Bounds of a request.
    pub request: Rules,
    /// Whether orders without an account are taken.
    pub guest_checkout: bool,
    /// How long stock is kept for payment.
    pub reservation: Duration,
    /// How old the last confirmation of prices may be.
    pub price_view_max_age: Duration,
    /// How orders are written.
    pub mode: Mode,
}

impl Default for ShopRules {
    fn default() -> Self {
        Self {
            request: Rules::default(),
            guest_checkout: true,
            reservation: Duration::from_secs(900),
            price_view_max_age: Duration::from_secs(30),
            mode: Mode::Atomic,
        }
    }
}

/// An order to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The order.
    pub id: OrderId,
    /// Its JSON.
    pub body: Bytes,
    /// Whether it was there already.
    pub replayed: bool,
}

/// The orders of one shop.
pub struct OrdersService {
    pub(crate) table: Arc<dyn Table>,
    pub(crate) ids: IdKey,
    pub(crate) keyring: Keyring,
    pub(crate) prices: Arc<PriceView>,
    pub(crate) directory: Directory,
    pub(crate) stock: StockKeeper,
    pub(crate) executor: Arc<Executor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rules: ShopRules,
    /// When the service was made, monotonic nanoseconds.
    started_ns: u64,
    pub(crate) metrics: OrderMetrics,
    /// Orders to look at again.
    pub(crate) recent: Recent,
    /// To requests that were repeated.
    answers: Answers,
    /// The table is closed for good: the role has to end.
    failed: AtomicBool,
    pub(crate) failure: tokio::sync::Notify,
}

/// What a service is made of.
pub struct Parts {
    /// Orders and stock.
    pub table: Arc<dyn Table>,
    /// Derives ids and tokens.
    pub ids: IdKey,
    /// Seals personal fields.
    pub keyring: Keyring,
    /// What is sold, for how much.
    pub prices: Arc<PriceView>,
    /// Clock and randomness.
    pub env: Env,
    /// What is allowed.
    pub rules: ShopRules,
}

impl OrdersService {
    /// A service over its parts.
    #[must_use]
    pub fn new(parts: Parts, metrics: OrderMetrics) -> Self {
        let Parts { table, ids, keyring, prices, env, rules } = parts;
        let directory = Directory::new(Arc::clone(&table));
        let stock = StockKeeper::new(Arc::clone(&table), directory.clone());
        let executor = Arc::new(Executor::new(Arc::clone(&table), directory.clone(), rules.mode, &env));
        let started_ns = env.clock.mono_ns();
        Self {
            table,
            ids,
            keyring,
            prices,
            directory,
            stock,
            executor,
            clock: env.clock,
            rules,
            started_ns,
            metrics,
            recent: Recent::default(),
            answers: Answers::new(&*env.rng),
            failed: AtomicBool::new(false),
            failure: tokio::sync::Notify::new(),
        }
    }

    /// Places the order that `body` asks for; `header_key` is the value of `Idempotency-Key`.
    ///
    /// # Errors
    /// The problem to answer with.
    pub async fn place(&self, body: &[u8], header_key: Option<&[u8]>) -> Result<Answer, Box<Problem>> {
        if !self.rules.guest_checkout {
            return Err(Box::new(Code::AuthenticationRequired.into()));
        }
        let asked = Asked { body, header_key };
        if let Some(answer) = self.answers.find(asked) {
            return Ok(answer);
        }
        let answer = self.place_unseen(body, header_key).await?;
        self.answers.keep(asked, &answer);
        Ok(answer)
    }

    async fn place_unseen(&self, body: &[u8], header_key: Option<&[u8]>) -> Result<Answer, Box<Problem>> {
        let request = parse_order(body, header_key, &self.rules.request)?;
        let id = self.ids.order_id(GUEST_SCOPE, &request.user, &request.key);
        let digest = Digest::of(&request);
        let priced = self.fresh_prices().and_then(|()| pricing::price(&request, &self.prices));
        let lines = match priced {
            Ok(lines) => lines,
            // A key that stands for an order answers with it, whatever prices are today.
            Err(problem) => return self.standing_order(id, &digest).await?.ok_or(problem),
        };
        let personal = request.has_personal_fields().then(|| Personal::of(&request));
        let created = Timestamp::from_millis(self.clock.wall_ms());
        let reservation = u64::try_from(self.rules.reservation.as_millis()).unwrap_or(u64::MAX);
        let document = OrderDocument {
            user: request.user,
            market: request.market,
            created,
            expires: created.plus_millis(reservation),
            guest: true,
            lines,
            allocations: Vec::new(),
            sealed: None,
        };
        let mut plan = OrderPlan { id, digest, document, demand: request.demand };
        if let Some(personal) = personal {
            // Looked up first: a replay must not make a key that was destroyed.
            if let Some(answer) = self.standing_order(id, &digest).await? {
                return Ok(answer);
            }
            // A user's key is for ever: none is made for an order that there is no stock for.
            let looked = self.executor.look_around(&plan).await.map_err(|error| self.problem(&error))?;
            if let Err(short) = looked {
                return self.standing_order(id, &digest).await?.ok_or_else(|| insufficient(&short, &request.lines));
            }
            plan.document.sealed = Some(self.seal(&id, &personal).await?);
        }
        let placed = self.executor.place(plan).await.map_err(|error| self.problem(&error))?;
        match placed {
            Placed::Created(document) => Ok(self.answer(id, &document, false)),
            Placed::Replayed(document) => Ok(self.answer(id, &document, true)),
            Placed::KeyReused => Err(Box::new(Code::IdempotencyKeyReused.into())),
            Placed::Short(short) => {
                self.standing_order(id, &digest).await?.ok_or_else(|| insufficient(&short, &request.lines))
            }
        }
    }

    /// The order as its owner sees it; `token` is the bearer token.
    ///
    /// # Errors
    /// The problem to answer with: 404 as well for a wrong token.
    pub async fn show(&self, id: &str, token: Option<&str>) -> Result<Vec<u8>, Box<Problem>> {
        let id = self.opened_by(id, token)?;
        let order = self.load(&id).await?;
        Ok(render(&id, &order.document, order.state, &self.ids))
    }

    /// Calls the order off for its owner. Asking again answers the same.
    ///
    /// # Errors
    /// The problem to answer with.
    pub async fn cancel(&self, id: &str, token: Option<&str>) -> Result<Vec<u8>, Box<Problem>> {
        let id = self.opened_by(id, token)?;
        let done = self.bring_about(&id, Event::CancelledByShopper, Actor::Shopper).await?;
        Ok(render(&id, &done.order.document, done.order.state, &self.ids))
    }

    /// Brings an event about.
    ///
    /// # Errors
    /// The problem to answer with.
    pub async fn bring_about(&self, id: &OrderId, event: Event, actor: Actor) -> Result<Transitioned, Box<Problem>> {
        match self.executor.transition(id, event, actor).await {
            Ok(done) => Ok(done),
            Err(CommandError::NotFound) => Err(no_order(id)),
            Err(CommandError::Refused(refused)) => {
                Err(Box::new(Problem::new(Code::InvalidTransition).detail(in_words(refused))))
            }
            Err(CommandError::Execute(error)) => Err(self.problem(&error)),
        }
    }

    /// Reads an order.
    ///
    /// # Errors
    /// The problem to answer with.
    pub async fn load(&self, id: &OrderId) -> Result<LoadedOrder, Box<Problem>> {
        let loaded = load(&*self.table, id).await.map_err(|error| self.problem(&error))?;
        loaded.ok_or_else(|| no_order(id))
    }

    /// The personal fields of an order; `None` when their key was destroyed.
    ///
    /// # Errors
    /// The problem to answer with.
    pub fn personal(&self, order: &LoadedOrder) -> Result<Option<Personal>, Box<Problem>> {
        let Some(sealed) = &order.document.sealed else { return Ok(Some(Personal::default())) };
        match self.keyring.open_sealed(&order.id, sealed) {
            Ok(Opened::Erased) => Ok(None),
            Ok(Opened::Plain(plain)) => {
                let personal = serde_json::from_slice(&plain);
                personal.map(Some).map_err(|_| keyring_problem(&KeyringError::Damaged))
            }
            Err(error) => Err(keyring_problem(&error)),
        }
    }

    /// Puts stock in for products that have none yet.
    ///
    /// # Errors
    /// The table did not take it.
    pub async fn seed_stock(&self, stock: &[(Sku, u64)]) -> Result<(), crate::stock::operator::StockError> {
        let units = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
        let stock: Vec<_> = stock.iter().map(|(sku, n)| (sku.clone(), units(*n))).collect();
        self.stock.seed(&stock).await
    }

    /// Reads the directory of every product, so that orders need not, and background work knows all stock there is:
    /// also of products that are no longer sold.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn learn_stock(&self) -> Result<(), ExecuteError> {
        self.directory.learn().await?;
        for sku in self.prices.skus() {
            self.directory.layout(&sku).await?;
        }
        Ok(())
    }

    /// Whether the table has closed for good.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether prices are confirmed, and how old the confirmation is in seconds.
    #[must_use]
    pub fn prices_confirmed(&self) -> (bool, Option<u64>) {
        let age = self.prices.age_ns(self.clock.mono_ns());
        let limit = self.rules.price_view_max_age.as_nanos();
        (age.is_some_and(|age| u128::from(age) <= limit), age.map(|ns| ns / 1_000_000_000))
    }

    fn fresh_prices(&self) -> Result<(), Box<Problem>> {
        let (fresh, age) = self.prices_confirmed();
        if fresh {
            return Ok(());
        }
        let limit = self.rules.price_view_max_age;
        let running = Duration::from_nanos(self.clock.mono_ns().saturating_sub(self.started_ns));
        let problem = match age {
            // Prices are not known to be old: nobody could confirm them to this process yet.
            None if running <= limit => Problem::new(Code::UpstreamUnavailable)
                .detail("orders has just started and waits for the catalog to confirm its prices"),
            None => Problem::new(Code::PricesStale)
                .detail("the catalog has not confirmed its prices since orders was started"),
            Some(age) => Problem::new(Code::PricesStale)
                .detail(format!("the catalog confirmed its prices {age} s ago; they count for {} s", limit.as_secs())),
        };
        Err(Box::new(problem))
    }

    /// The order that stands under this id, as an answer to a request with this digest.
    async fn standing_order(&self, id: OrderId, digest: &Digest) -> Result<Option<Answer>, Box<Problem>> {
        match load(&*self.table, &id).await {
            Ok(None) => Ok(None),
            Ok(Some(order)) if order.digest.as_ref() == digest.0 => Ok(Some(self.answer(id, &order.document, true))),
            Ok(Some(_)) => Err(Box::new(Code::IdempotencyKeyReused.into())),
            Err(error) => Err(self.problem(&error)),
        }
    }

    /// The 201 shows the order as it was made, at any age: a replay is the same bytes.
    fn answer(&self, id: OrderId, document: &OrderDocument, replayed: bool) -> Answer {
        Answer { id, body: render(&id, document, State::CREATED, &self.ids).into(), replayed }
    }

    async fn seal(&self, id: &OrderId, personal: &Personal) -> Result<bytes::Bytes, Box<Problem>> {
        let plain = serde_json::to_vec(personal).map_err(|_| Problem::new(Code::Internal))?;
        let plain = zeroize::Zeroizing::new(plain);
        let sealed = self.keyring.seal(&id.user_hash(), id, &plain).await;
        sealed.map_err(|error| {
            if matches!(error, KeyringError::Poisoned) {
                self.fail("the file of users' keys could not be synced");
            }
            keyring_problem(&error)
        })
    }

    fn opened_by(&self, id: &str, token: Option<&str>) -> Result<OrderId, Box<Problem>> {
        // One answer for every reason: whether an order is there is told to its owner only.
        let refused = || {
            let detail = "there is no order with this id that this token opens; send the order's `access_token` as \
                          `Authorization: Bearer`";
            Box::new(Problem::new(Code::NotFound).detail(detail))
        };
        let id = id.parse::<OrderId>().map_err(|_| refused())?;
        match token {
            Some(token) if self.ids.verify_access_token(&id, token) => Ok(id),
            _ => Err(refused()),
        }
    }

    /// Nothing can be made durable any more: the role has to end, and a start opens its storage again.
    fn fail(&self, reason: &'static str) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            tracing::error!(reason, "the storage has stopped; the role ends");
        }
        self.failure.notify_one();
    }
}
