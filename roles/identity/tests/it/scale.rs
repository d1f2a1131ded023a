//! Many streams at once.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::time::timeout;
use zizon_identity::{Clock, Config};

use crate::common::{MovedClock, PATIENCE, Platform};

#[tokio::test]
async fn hundreds_of_streams_get_a_renewal_within_a_second() {
    let clock = MovedClock::new();
    let config = Config { streams_per_process_max: 400, opens_per_second_per_uid: 1000, ..Config::default() };
    let platform = Platform::start_with(config, Clock::from_source(clock.clone()));
    let client = platform.client().await;
    let mut streams = Vec::new();
    for _ in 0..300 {
        let mut stream = Box::pin(client.stream_x509_contexts().await.unwrap());
        timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
        streams.push(stream);
    }
    // A step of the clock has everything issued again, at the next tick (a second at most).
    clock.advance(Duration::from_secs(60));
    let stepped = Instant::now();
    let all = join_all(streams.iter_mut().map(|stream| stream.next()));
    let all = timeout(PATIENCE, all).await.unwrap();
    println!("300 streams renewed {} ms after the step", stepped.elapsed().as_millis());
    assert!(all.into_iter().all(|response| response.unwrap().is_ok()));
    assert!(stepped.elapsed() < Duration::from_secs(2), "{:?}", stepped.elapsed());
    assert!(platform.exported("zizon_identity_svids_issued_total") <= 3.0, "one for all, not one each");
}
