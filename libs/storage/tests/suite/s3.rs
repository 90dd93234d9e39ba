//! What only the S3 backend does: parts, restarts of the server, refusals at the start.

use crate::servers::{s3, s3_options};
use bytes::Bytes;
use emet_storage::s3::{S3Blob, S3Credentials};
use emet_storage::{BlobError, BlobStore};
use emet_test_servers::S3Server;

fn large(seed: u8) -> Bytes {
    (0..20 * 1024 * 1024usize).map(|n| (n / 7) as u8 ^ seed).collect::<Vec<_>>().into()
}

#[tokio::test]
async fn large_objects_go_in_parts() {
    let server = S3Server::start();
    let blobs = s3(&server).await;
    let (one, two) = (large(1), large(2));
    blobs.put("wasm/large", one.clone()).await.unwrap();
    assert!(blobs.get("wasm/large").await.unwrap().unwrap() == one);
    assert_eq!(blobs.head("wasm/large").await.unwrap().unwrap().size, one.len() as u64);
    let middle = blobs.get_range("wasm/large", 8_388_600, 8_388_700).await.unwrap().unwrap();
    assert_eq!(middle, one.slice(8_388_600..8_388_700));
    assert!(!blobs.put_if_absent("wasm/large", two.clone()).await.unwrap());
    assert!(blobs.get("wasm/large").await.unwrap().unwrap() == one, "it is as it was");
    assert!(blobs.put_if_absent("wasm/new", two.clone()).await.unwrap());
    assert!(blobs.get("wasm/new").await.unwrap().unwrap() == two);
}

#[tokio::test]
async fn only_one_of_many_large_writers_creates() {
    let server = S3Server::start();
    let blobs = s3(&server).await;
    let tries = (0..4).map(|n| blobs.put_if_absent("k", large(n)));
    let results = futures::future::join_all(tries).await;
    let created: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
    let winner = created.iter().position(|created| *created).unwrap();
    assert!(blobs.get("k").await.unwrap().unwrap() == large(winner as u8));
}

#[tokio::test]
async fn objects_survive_a_kill_of_the_server_and_requests_wait_for_it() {
    let mut server = S3Server::start();
    let blobs = s3(&server).await;
    blobs.put("before", Bytes::from("1")).await.unwrap();
    server.kill();
    let failed = s3_fast(&server).await;
    assert!(matches!(failed, Err(BlobError::Io(_))), "no server, no store");
    let waiting = tokio::spawn({
        let blobs = blobs.clone();
        async move { blobs.put("during", Bytes::from("2")).await }
    });
    server.restart();
    waiting.await.unwrap().unwrap();
    assert_eq!(blobs.get("before").await.unwrap(), Some(Bytes::from("1")));
    assert_eq!(blobs.get("during").await.unwrap(), Some(Bytes::from("2")));
}

async fn s3_fast(server: &S3Server) -> Result<S3Blob, BlobError> {
    let options = s3_options(server);
    S3Blob::open(emet_storage::s3::S3Options { attempts: 1, ..options }).await
}

#[tokio::test]
async fn a_missing_bucket_and_a_wrong_key_are_refused_at_the_start() {
    let server = S3Server::start();
    let mut options = s3_options(&server);
    options.bucket = "none".into();
    let Err(error) = S3Blob::open(options).await else { panic!("opened") };
    assert!(error.to_string().contains("\"none\""), "{error}");
    let mut options = s3_options(&server);
    let secret_key = "wrong".into();
    options.credentials =
        S3Credentials::Static { access_key: S3Server::ACCESS_KEY.into(), secret_key };
    assert!(S3Blob::open(options).await.is_err());
}

#[tokio::test]
async fn objects_of_others_in_the_bucket_are_left_alone() {
    let server = S3Server::start();
    let mut options = s3_options(&server);
    options.prefix = "some/where/else/".into();
    let other = S3Blob::open(options).await.unwrap();
    other.put("x/a", Bytes::from("theirs")).await.unwrap();
    let blobs = s3(&server).await;
    blobs.put("x/a", Bytes::from("ours")).await.unwrap();
    blobs.delete_prefix("x/").await.unwrap();
    assert_eq!(blobs.list("", None, 9).await.unwrap(), []);
    assert_eq!(other.get("x/a").await.unwrap(), Some(Bytes::from("theirs")));
}

#[tokio::test]
async fn thousands_of_objects_are_listed_and_deleted() {
    let server = S3Server::start();
    let blobs = s3(&server).await;
    let puts = (0..1100).map(|n| {
        let blobs = blobs.clone();
        async move { blobs.put(&format!("many/{n:05}"), Bytes::new()).await.unwrap() }
    });
    futures::StreamExt::collect::<()>(futures::StreamExt::buffer_unordered(
        futures::stream::iter(puts),
        16,
    ))
    .await;
    let listed = blobs.list("many/", Some("many/00007"), usize::MAX).await.unwrap();
    assert_eq!(listed.len(), 1092);
    assert_eq!(listed[0].0, "many/00008");
    blobs.delete_prefix("many/").await.unwrap();
    assert_eq!(blobs.list("", None, 9).await.unwrap(), []);
}
